"""GET /api/runs/{run_id}/events: any run's events, followed or replayed."""

from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import msgspec
from litestar import Request, Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath

from api import frames
from api.auth import Caller
from api.deps import Floor
from api.openbench.runs import parse_id, zulu
from api.stream import Manner, last_event_id, relay
from db.bus import Told
from db.domain.events import encode
from db.runs import fetch_run

# how a kind's last event is called here: status word, event
ENDINGS: Final = {
    "complete": ("completed", "completed"),
    "error": ("failed", "failed"),
    "cancelled": ("canceled", "canceled"),
}


async def heartbeat(_: Floor, __: UUID) -> bytes:
    return frames.nameless("heartbeat", encode({"timestamp": zulu(datetime.now(UTC))}))


def closing(last: Told) -> bytes:
    """Close another dialect's stream in openbench's words, without ids: it is not in the log."""
    status, event = ENDINGS[last.type]
    now = zulu(datetime.now(UTC))
    end: dict[str, Any] = {"finished_at": now}
    if event != "canceled":
        end["exit_code"] = 0 if event == "completed" else 1
    if event == "failed":
        end["error"] = msgspec.json.decode(last.data).get("message", "")
    return frames.nameless("status", encode({"status": status, "timestamp": now})) + (
        frames.nameless(event, encode(end))
    )


MANNER: Final = Manner(frames.openbench, heartbeat, closing)


@get("/api/runs/{run_id:str}/events", tags=["runs"])
async def follow_run(
    request: Request[Any, Any, Any],
    run_id: FromPath[str],
    floor: NamedDependency[Floor],
    maybe_caller: NamedDependency[Caller | None],
) -> Response[Any]:
    """Follow a run from its first event, or from the one after `Last-Event-ID`."""
    caller = maybe_caller.id if maybe_caller else None
    run = await fetch_run(floor.pool, parse_id(run_id), caller)
    return await relay(floor, run, last_event_id(request), MANNER)


HANDLERS: Final = (follow_run,)
