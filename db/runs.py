"""Runs as rows: who asked for what, and how far it is."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

import asyncpg
import msgspec

from db.domain.errors import RunNotFound, RunStillRunning
from db.domain.lifecycle import State
from db.domain.specs import Spec
from db.statements import Executor, load

SQL: Final = load("runs")
_spec: Final = msgspec.json.Decoder(Spec).decode


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One requested execution."""

    id: UUID
    owner_id: UUID
    kind: str
    state: State
    visibility: str
    spec: Spec
    planned: int
    done: int
    failed: int
    summary: msgspec.Raw | None
    error: dict[str, str] | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class Filter(NamedTuple):
    """Which runs to list; `before` is the place of the last run seen."""

    state: str | None = None
    kind: str | None = None
    search: str | None = None
    before: tuple[datetime, UUID] | None = None
    limit: int = 50


async def find_run(db: Executor, run_id: UUID, caller: UUID | None) -> Run | None:
    row = await SQL["find_run"].maybe(db, run_id, caller)
    return read_run(row) if row else None


async def fetch_run(db: Executor, run_id: UUID, caller: UUID | None) -> Run:
    """Raise RunNotFound for what the caller may not see, as for what does not exist."""
    run = await find_run(db, run_id, caller)
    if run is None:
        raise RunNotFound
    return run


async def list_runs(db: Executor, owner: UUID, which: Filter) -> tuple[Run, ...]:
    """List a user's runs, newest first."""
    at, last = which.before or (None, None)
    rows = await SQL["list_runs"].many(
        db, owner, which.state, which.kind, which.search, at, last, which.limit
    )
    return tuple(read_run(row) for row in rows)


async def list_active(db: Executor, owner: UUID, kind: str) -> Sequence[UUID]:
    return [row["id"] for row in await SQL["list_active"].many(db, owner, kind)]


async def delete_run(db: Executor, run_id: UUID, owner: UUID) -> None:
    """Delete a run that is not running, with all that hangs on it; a queued one never starts."""
    if await SQL["delete_run"].maybe(db, run_id, owner):
        return
    run = await fetch_run(db, run_id, owner)
    raise RunStillRunning if run.owner_id == owner else RunNotFound


async def queue_position(db: Executor, run_id: UUID) -> int | None:
    """Count the runs that were queued earlier and are still; None unless this one is, too."""
    row = await SQL["queue_position"].maybe(db, run_id)
    return row["ahead"] if row else None


async def count_by_state(db: Executor) -> Sequence[asyncpg.Record]:
    """Count the runs that are not over, with the oldest of each kind and state."""
    return await SQL["count_by_state"].many(db)


def read_run(row: asyncpg.Record) -> Run:
    fields: dict[str, Any] = {name: row[name] for name in Run.__struct_fields__}
    fields["spec"] = _spec(fields["spec"])
    fields["summary"] = msgspec.Raw(fields["summary"]) if fields["summary"] else None
    fields["error"] = msgspec.json.decode(fields["error"]) if fields["error"] else None
    return Run(**fields)
