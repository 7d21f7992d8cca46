"""POST /api/benchmark: start a benchmark and relay its run as one stream."""

from typing import Any, Final
from uuid import UUID

import msgspec
from litestar import Request, Response, post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from api import frames
from api.auth import Caller
from api.bodies import Strict
from api.deps import Floor
from api.orders import start_run
from api.sheets import BenchmarkSheet
from api.stream import Manner, relay
from db.bus import Told
from db.domain.errors import RunNotFound, RunNotRunning
from db.runs import fetch_run, list_active, queue_position
from db.submit import cancel


class CancelSheet(msgspec.Struct, frozen=True, kw_only=True):
    run_id: UUID | None = None
    job_id: UUID | None = None


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    job_id: UUID
    run_id: UUID
    status: str = "queued"


class Done(msgspec.Struct, frozen=True, kw_only=True):
    status: str
    message: str


async def heartbeat(floor: Floor, run_id: UUID) -> bytes:
    """Word silence; while the run is queued, say how many are before it."""
    ahead = await queue_position(floor.pool, run_id)
    if ahead is None:
        return b'data: {"type":"heartbeat"}\n\n'
    return b'data: {"type":"heartbeat","status":"queued","position":%d}\n\n' % (ahead + 1)


def closing(_: Told) -> bytes:
    return b""


MANNER: Final = Manner(frames.studio, heartbeat, closing)


@post(
    "/api/benchmark",
    dto=Strict[BenchmarkSheet],
    return_dto=None,
    status_code=200,
    tags=["benchmarks"],
)
async def run_benchmark(
    request: Request[Any, Any, Any],
    data: JSONBody[BenchmarkSheet],
    floor: NamedDependency[Floor],
    caller: NamedDependency[Caller],
) -> Response[Any]:
    """Start a benchmark; answers its events as they happen, or 202 for `Accept: application/json`.

    Hanging up does not cancel it: follow it again at `/api/runs/{run_id}/events`.
    """
    run_id = await start_run(floor, caller, data)
    if _wants_json(request):
        location = {"Location": f"/api/runs/{run_id}", "X-Run-Id": str(run_id)}
        return Response(Accepted(job_id=run_id, run_id=run_id), status_code=202, headers=location)
    return await relay(floor, await fetch_run(floor.pool, run_id, caller.id), 0, MANNER)


@post(
    "/api/benchmark/cancel",
    dto=Strict[CancelSheet],
    return_dto=None,
    status_code=200,
    tags=["benchmarks"],
)
async def cancel_benchmark(
    floor: NamedDependency[Floor],
    caller: NamedDependency[Caller],
    data: JSONBody[CancelSheet | None] = None,
) -> Done:
    """Cancel one benchmark, or all that the caller has under way; fine when there is none."""
    wanted = data and (data.run_id or data.job_id)
    ids = [wanted] if wanted else await list_active(floor.pool, caller.id, "benchmark")
    for run_id in ids:
        try:
            await cancel(floor.pool, floor.bell, run_id, caller.id)
        except (RunNotFound, RunNotRunning):
            continue
    return Done(status="ok", message="Cancellation requested")


def _wants_json(request: Request[Any, Any, Any]) -> bool:
    if request.query_params.get("stream", "").lower() in ("false", "0"):
        return True
    accept = request.headers.get("accept", "")
    return "application/json" in accept and "text/event-stream" not in accept


HANDLERS: Final = (run_benchmark, cancel_benchmark)
