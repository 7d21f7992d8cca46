"""Runs of every kind: create, list, read, cancel, delete."""

from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal
from uuid import UUID

import msgspec
from litestar import delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from api.auth import Caller
from api.bodies import Strict
from api.deps import Floor
from api.orders import start_run
from api.sheets import BenchmarkSheet
from db.domain.errors import Invalid, RunNotFound
from db.domain.lifecycle import State
from db.runs import Filter, Run, fetch_run, list_runs
from db.samples import list_attempts, list_samples
from db.submit import cancel, remove

# Postgres stores no NUL, nor can it look for one
Word = Annotated[str | None, QueryParameter(max_length=200, pattern=r"^[^\x00]*$")]
SPELLING: Final = {"cancelled": "canceled"}
STATES: Final[dict[str, State]] = {
    "queued": "queued",
    "running": "running",
    "completed": "completed",
    "failed": "failed",
    "canceled": "cancelled",
    "cancelled": "cancelled",
}


class RunSheet(BenchmarkSheet, frozen=True, kw_only=True):
    """A run of any kind; `kind` says which fields count."""

    kind: Literal["benchmark"]


class Created(msgspec.Struct, frozen=True, kw_only=True):
    run_id: UUID


class Status(msgspec.Struct, frozen=True, kw_only=True):
    status: str


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a run is; rate in samples per second, both None before there is one."""

    planned: int
    done: int
    failed: int
    percentage: float
    elapsed_s: float | None
    rate: float | None
    eta_s: float | None


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """A run in a list; `benchmark` and `model` are openbench's words for it."""

    run_id: UUID
    kind: str
    benchmark: str
    model: str
    status: str
    created_at: str
    started_at: str | None
    finished_at: str | None
    primary_metric: float | None
    primary_metric_name: str | None
    progress: Progress
    tags: tuple[str, ...] = ()
    notes: str | None = None


class Detail(Item, frozen=True, kw_only=True):
    """A run in full."""

    user_id: UUID
    visibility: str
    config: Any
    error: str | None
    error_code: str | None
    exit_code: int | None
    summary: msgspec.Raw | None
    links: dict[str, str]


class SamplePage(msgspec.Struct, frozen=True, kw_only=True):
    """Samples in plan order with the attempts behind them; `next_after` continues."""

    samples: tuple[dict[str, Any], ...]
    attempts: tuple[dict[str, Any], ...]
    next_after: int | None


@post("/api/runs", dto=Strict[RunSheet], return_dto=None, status_code=200, tags=["runs"])
async def create_run(
    data: JSONBody[RunSheet],
    floor: NamedDependency[Floor],
    caller: NamedDependency[Caller],
) -> Created:
    """Start a run; beyond the caller's concurrency it waits, it is never refused for that."""
    return Created(run_id=await start_run(floor, caller, data))


@get("/api/runs", tags=["runs"])
async def list_own_runs(
    floor: NamedDependency[Floor],
    maybe_caller: NamedDependency[Caller | None],
    limit: Annotated[int, QueryParameter(ge=1, le=1000)] = 50,
    status: FromQuery[str | None] = None,
    kind: Word = None,
    search: Word = None,
) -> tuple[Item, ...]:
    """List the caller's runs, newest first."""
    if maybe_caller is None:
        return ()
    which = Filter(_state(status), kind, search, None, limit)
    return tuple(word_item(run) for run in await list_runs(floor.pool, maybe_caller.id, which))


@get("/api/runs/{run_id:str}", tags=["runs"])
async def read_run(
    run_id: FromPath[str],
    floor: NamedDependency[Floor],
    maybe_caller: NamedDependency[Caller | None],
) -> Detail:
    """Read one run: how far it is, what was asked, what came of it."""
    caller = maybe_caller.id if maybe_caller else None
    return word_detail(await fetch_run(floor.pool, parse_id(run_id), caller))


@get("/api/runs/{run_id:str}/samples", tags=["runs"])
async def read_samples(
    run_id: FromPath[str],
    floor: NamedDependency[Floor],
    maybe_caller: NamedDependency[Caller | None],
    after: Annotated[int, QueryParameter(ge=-1, le=2**31 - 1)] = -1,
    limit: Annotated[int, QueryParameter(ge=1, le=1000)] = 200,
) -> SamplePage:
    """Read a run's samples, with every attempt that was made for them."""
    caller = maybe_caller.id if maybe_caller else None
    run = await fetch_run(floor.pool, parse_id(run_id), caller)
    samples = await list_samples(floor.pool, run.id, after, limit)
    last = samples[-1]["key"] if samples else after
    attempts = await list_attempts(floor.pool, run.id, after + 1, last)
    return SamplePage(
        samples=samples, attempts=attempts, next_after=last if len(samples) == limit else None
    )


@post("/api/runs/{run_id:str}/cancel", status_code=200, tags=["runs"])
async def cancel_run(
    run_id: FromPath[str],
    floor: NamedDependency[Floor],
    caller: NamedDependency[Caller],
) -> Status:
    """Cancel a run within two seconds, also in mid-call; finished samples are kept."""
    await cancel(floor.pool, floor.bell, parse_id(run_id), caller.id)
    return Status(status="canceled")


@delete("/api/runs/{run_id:str}", status_code=200, tags=["runs"])
async def remove_run(
    run_id: FromPath[str],
    floor: NamedDependency[Floor],
    caller: NamedDependency[Caller],
) -> Status:
    """Delete a run that is not running, with its samples and events."""
    await remove(floor.pool, floor.bell, parse_id(run_id), caller.id)
    return Status(status="deleted")


def parse_id(text: str) -> UUID:
    """Read an id; one that cannot exist is a run that does not exist."""
    try:
        return UUID(text)
    except ValueError:
        raise RunNotFound from None


def word_item(run: Run) -> Item:
    return Item(**_item(run))


def word_detail(run: Run) -> Detail:
    ended = {"completed": 0, "failed": 1}.get(run.state)
    links = {name: f"/api/runs/{run.id}/{name}" for name in ("events", "samples", "cancel")}
    return Detail(
        **_item(run),
        user_id=run.owner_id,
        visibility=run.visibility,
        config=run.spec,
        error=run.error["message"] if run.error else None,
        error_code=run.error["code"] if run.error else None,
        exit_code=ended,
        summary=run.summary,
        links={"self": f"/api/runs/{run.id}", **links},
    )


def zulu(at: datetime | None) -> str | None:
    return (
        at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z") if at else None
    )


def _item(run: Run) -> dict[str, Any]:
    return {
        "run_id": run.id,
        "kind": run.kind,
        "benchmark": run.kind,
        "model": ", ".join(target.model_id for target in run.spec.targets),
        "status": SPELLING.get(run.state, run.state),
        "created_at": zulu(run.created_at),
        "started_at": zulu(run.started_at),
        "finished_at": zulu(run.finished_at),
        "primary_metric": None,
        "primary_metric_name": None,
        "progress": word_progress(run, datetime.now(UTC)),
    }


def word_progress(run: Run, now: datetime) -> Progress:
    """Estimate the rest from the mean rate so far."""
    end = run.finished_at or now
    elapsed = (end - run.started_at).total_seconds() if run.started_at else None
    rate = run.done / elapsed if elapsed and run.done else None
    left = run.planned - run.done
    return Progress(
        planned=run.planned,
        done=run.done,
        failed=run.failed,
        percentage=round(100 * run.done / run.planned, 1) if run.planned else 0.0,
        elapsed_s=round(elapsed, 3) if elapsed is not None else None,
        rate=round(rate, 3) if rate else None,
        eta_s=round(left / rate, 1) if rate and run.finished_at is None else None,
    )


def _state(word: str | None) -> State | None:
    if word is None:
        return None
    if word not in STATES:
        raise Invalid(f"status: {word[:50]!r} is not one of {', '.join(STATES)}")
    return STATES[word]


HANDLERS: Final = (create_run, list_own_runs, read_run, read_samples, cancel_run, remove_run)
