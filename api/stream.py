"""One run's events as one SSE stream: replay, then live, gapless and in order."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, NamedTuple
from uuid import UUID

from litestar import Request, Response
from litestar.types import ASGIApp, Receive, Scope, Send

from api.deps import Floor
from api.frames import RETRY, Flavour, Frames
from api.relay import Subscriber
from db.bus import Told
from db.domain.events import TERMINAL
from db.events import list_events
from db.pool import OUTAGES
from db.runs import Run

HEADERS: Final = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache, no-store, must-revalidate"),
    (b"x-accel-buffering", b"no"),
)

ABORT: Final = "assay.abort"  # an ASGI extension of our server


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
    """Answer a run's events after number `after`; 204 when all of them were seen already.

    A number that the run has not reached was never given to anybody: nonsense, too.
    """
    last = await list_events(floor.pool, run.id, after - 1, 1) if after else ()
    if last and last[0].type in TERMINAL:
        return Response(None, status_code=204)
    return EventStream(floor, run.id, after if last else 0, manner)


def _abort(scope: Any) -> None:
    """Drop the connection, where the server lends a way to."""
    scope.get("extensions", {}).get(ABORT, {}).get("call", lambda: None)()


class EventStream(Response[None]):
    """An SSE answer that speaks ASGI itself: a write costs no generator, timer or task switch."""

    def __init__(self, floor: Floor, run_id: UUID, after: int, manner: Manner) -> None:
        super().__init__(None, media_type="text/event-stream")
        self._floor, self._run_id, self._after, self._manner = floor, run_id, after, manner

    def to_asgi_response(self, *_: Any, **__: Any) -> ASGIApp:  # type: ignore[override]
        return self._serve

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        name = str(self._run_id).encode()
        about = ((b"x-run-id", name), (b"location", b"/api/runs/" + name))
        await send({"type": "http.response.start", "status": 200, "headers": [*HEADERS, *about]})
        reader = Reader(self._floor, self._run_id, self._after, self._manner, send)
        await reader.write(RETRY)
        reader.subscriber = await self._floor.hub.join(self._run_id)
        try:
            await _until_gone(reader, receive)
        finally:
            await self._floor.hub.leave(self._run_id, reader.subscriber)
        try:
            async with asyncio.timeout(reader.subscriber.patience_s):
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        except TimeoutError:
            _abort(scope)
            await _hung_up(receive)


async def _until_gone(reader: "Reader", receive: Receive) -> None:
    """Pump until the log ends, the client hangs up, or it takes nothing any more.

    Also until Postgres is away: the client comes back, and goes on behind its last event.
    """
    pump, gone = asyncio.create_task(reader.pump()), asyncio.create_task(_hung_up(receive))
    reader.subscriber.stop = pump.cancel
    try:
        await asyncio.wait({pump, gone}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        pump.cancel()
        gone.cancel()
    await asyncio.wait({pump, gone})
    if not pump.cancelled():
        with suppress(*OUTAGES):
            pump.result()


async def _hung_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class Reader:
    """Where one reader is in a run's log."""

    def __init__(self, floor: Floor, run_id: UUID, after: int, manner: Manner, send: Send) -> None:
        self._floor, self._run_id, self._manner, self._send = floor, run_id, manner, send
        self._sent = after
        self._ended: Told | None = None
        self.subscriber = Subscriber()

    async def pump(self) -> None:
        """Send events until the terminal one, or until the stream is closed."""
        await self._replay()
        self._floor.hub.seen(self._run_id, self._sent)
        while not self._ended:
            await self.subscriber.wait()
            if self.subscriber.waiting:
                await self._drain()
            elif self.subscriber.closed:
                return
            else:
                await self.write(await self._manner.heartbeat(self._floor, self._run_id))
        await self.write(self._manner.closing(self._ended))

    async def write(self, chunk: bytes) -> None:
        """Hand bytes to the server; waits while the client's buffers are full."""
        if chunk:
            subscriber = self.subscriber
            subscriber.writing, subscriber.silent_since = True, time.monotonic()
            await self._send({"type": "http.response.body", "body": chunk, "more_body": True})
            subscriber.writing, subscriber.silent_since = False, time.monotonic()

    async def _replay(self) -> None:
        while not (self._ended or self.subscriber.closed) and (
            page := await list_events(self._floor.pool, self._run_id, self._sent)
        ):
            await self.write(self._take(Frames(page)))

    async def _drain(self) -> None:
        """Join what waits into one write; a hole is filled from the table."""
        chunks: list[bytes] = []
        waiting = self.subscriber.waiting
        while waiting and not self._ended:
            fresh = waiting.popleft().after(self._sent)
            if fresh and fresh.first > self._sent + 1:
                await self.write(b"".join(chunks))
                await self._replay()
                return
            if fresh:
                chunks.append(self._take(fresh))
        await self.write(b"".join(chunks))

    def _take(self, frames: Frames) -> bytes:
        self._sent, self._ended = frames.last, frames.terminal
        return frames.encode(self._manner.flavour)
