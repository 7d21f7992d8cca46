"""Plays a reply to one connection, each step at its absolute due time."""

import asyncio
import socket
import struct
from collections.abc import Callable
from time import perf_counter
from typing import Final

from worker.simulator.clock import Alarm, Clock
from worker.simulator.reply import Reply

RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


class Player:
    """Writes and stamps; `done` is called once, when the connection is free again."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        transport: asyncio.Transport,
        reply: Reply,
        base: float,
    ) -> None:
        self._loop = loop
        self._clock = clock
        self._transport = transport
        self._reply = reply
        self._base = base
        self._done: Callable[[], None] | None = None
        self._head = reply.head
        self._next = next(reply.steps)
        self._timer: asyncio.Handle | Alarm | None = None
        self._paused = False
        self._over = False

    def start(self, done: Callable[[], None]) -> None:
        self._done = done
        self._schedule()

    def pause(self) -> None:
        self._paused = True

    def resume(self) -> None:
        self._paused = False
        if self._timer is None and not self._over:
            self._schedule()

    def lost(self, now: float) -> None:
        """Note that the client went away."""
        self._over = True
        if self._timer is not None:
            self._timer.cancel()
        record = self._reply.record
        if record is not None and record.outcome == "open":
            record.outcome, record.disconnected = "disconnected", now

    def _schedule(self) -> None:
        """Play the next step now, soon or when it is due."""
        due = self._base + self._next.due
        if self._paused:
            self._timer = None
        elif due > perf_counter():
            self._timer = self._clock.call_at(due, self._play)
        elif self._head:
            self._play()
        else:
            self._timer = self._loop.call_soon(self._play)

    def _play(self) -> None:
        self._timer = None
        step = self._next
        following = next(self._reply.steps, None)
        self._write(step.data, last=following is None)
        now = perf_counter()
        record = self._reply.record
        if record is not None:
            if record.headers_sent is None:
                record.headers_sent = now
            record.stamp(now, step.events, step.tokens)
        if following is None:
            self._end(now)
        else:
            self._next = following
            self._schedule()

    def _write(self, data: bytes, *, last: bool) -> None:
        if self._reply.chunked:
            framed = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
            final = last and self._reply.ending == "complete"
            data = framed + b"0\r\n\r\n" if final else framed
        out = self._head + data
        self._head = b""
        if out:
            self._transport.write(out)

    def _end(self, now: float) -> None:
        ending = self._reply.ending
        record = self._reply.record
        self._over = True
        if ending == "open":
            return  # silence until the client goes
        if record is not None:
            record.outcome = ending
            record.finished = now if ending == "complete" else None
        if ending == "cut":
            self._transport.close()
        elif ending == "rst":
            self._reset()
        elif self._done is not None:
            self._done()

    def _reset(self) -> None:
        """Send what is written, then RST: the kernel drops what waits when linger is zero."""
        self._loop.call_later(0.02, _abort, self._transport)


def _abort(transport: asyncio.Transport) -> None:
    sock = transport.get_extra_info("socket")
    if sock is not None and not transport.is_closing():
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        transport.abort()
