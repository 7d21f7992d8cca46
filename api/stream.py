"""One run's events as one SSE stream: replay, then live, gapless and in order."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, Final, NamedTuple
from uuid import UUID

from litestar import Request, Response
from litestar.response import Stream

from api.deps import Floor
from api.frames import RETRY, Flavour, Frames
from api.relay import Subscriber
from db.bus import Told
from db.domain.lifecycle import TERMINAL
from db.events import list_events
from db.runs import Run

SILENCE_S: Final = 10.0
HEADERS: Final = {
    "Cache-Control": "no-cache, no-store, must-revalidate",
    "X-Accel-Buffering": "no",
}


class Manner(NamedTuple):
    """How a dialect words a stream: its events, its heartbeat and what follows the last event."""

    flavour: Flavour
    heartbeat: Callable[[Floor, UUID], Awaitable[bytes]]
    closing: Callable[[Told], bytes]


def last_event_id(request: Request[Any, Any, Any]) -> int:
    """Read `Last-Event-ID`, from the header or for a first load from the query; nonsense is 0."""
    text = request.headers.get("Last-Event-ID") or request.query_params.get("last_event_id") or ""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 18 else 0


async def relay(floor: Floor, run: Run, after: int, manner: Manner) -> Response[Any]:
    """Answer a run's events after number `after`; 204 when all of them were seen already."""
    seen_all = run.state in TERMINAL and not await list_events(floor.pool, run.id, after, 1)
    if seen_all and after:
        return Response(None, status_code=204)
    return Stream(
        _read(floor, run.id, after, manner),
        media_type="text/event-stream",
        headers=HEADERS | {"X-Run-Id": str(run.id), "Location": f"/api/runs/{run.id}"},
    )


async def _read(floor: Floor, run_id: UUID, after: int, manner: Manner) -> AsyncGenerator[bytes]:
    yield RETRY
    subscriber = await floor.hub.join(run_id)
    reader = Reader(floor, run_id, after, manner, subscriber)
    try:
        async for chunk in reader.read():
            yield chunk
    finally:
        await floor.hub.leave(run_id, subscriber)


class Reader:
    """Where one reader is in a run's log."""

    def __init__(
        self, floor: Floor, run_id: UUID, after: int, manner: Manner, subscriber: Subscriber
    ) -> None:
        self._floor, self._run_id, self._manner = floor, run_id, manner
        self._subscriber, self._sent = subscriber, after
        self._ended: Told | None = None

    async def read(self) -> AsyncGenerator[bytes]:
        """Yield encoded events until the terminal one, or until the stream is closed."""
        async for chunk in self._replay():
            yield chunk
        self._floor.hub.seen(self._run_id, self._sent)
        while not self._ended:
            if not await self._subscriber.wait(SILENCE_S):
                yield await self._manner.heartbeat(self._floor, self._run_id)
                continue
            if self._subscriber.closed and not self._subscriber.waiting:
                return
            async for chunk in self._drain():
                yield chunk
        yield self._manner.closing(self._ended)

    async def _replay(self) -> AsyncGenerator[bytes]:
        while not self._ended and (
            page := await list_events(self._floor.pool, self._run_id, self._sent)
        ):
            yield self._take(Frames(page))

    async def _drain(self) -> AsyncGenerator[bytes]:
        """Join what waits into one write; a hole is filled from the table."""
        chunks: list[bytes] = []
        while self._subscriber.waiting and not self._ended:
            fresh = self._subscriber.waiting.popleft().after(self._sent)
            if fresh is None:
                continue
            if fresh.first > self._sent + 1:
                chunks += [chunk async for chunk in self._replay()]
            elif fresh:
                chunks.append(self._take(fresh))
        if chunks:
            yield b"".join(chunks)

    def _take(self, frames: Frames) -> bytes:
        self._sent, self._ended = frames.last, frames.terminal
        return frames.encode(self._manner.flavour)
