"""One HTTP/1.1 connection."""

import asyncio
import socket
from collections import deque
from time import perf_counter
from typing import Any, Final, cast

import httptools

from worker.simulator.clock import Clock
from worker.simulator.player import Player
from worker.simulator.reply import plain
from worker.simulator.site import Request, Site
from worker.simulator.words_openai import error

BODY_CAP: Final = 64 * 1024 * 1024
PIPELINED_CAP: Final = 64


class Connection(asyncio.Protocol):
    """Parses requests, plays their replies in order."""

    def __init__(self, site: Site, clock: Clock) -> None:
        self._site = site
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._parser: Any = httptools.HttpRequestParser(self)
        self._waiting: deque[tuple[Request, bool]] = deque()
        self._player: Player | None = None
        self._transport: asyncio.Transport | None = None
        self._received = 0.0
        self._closing = False
        self._counted = False
        self.on_message_begin()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._site.stats.open_connections += 1
        self._site.stats.connections += 1

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._site.stats.open_connections -= 1
        self._waiting.clear()
        self._transport = None
        if self._player is not None:
            self._player.lost(perf_counter())
            self._free()

    def data_received(self, data: bytes) -> None:
        self._received = perf_counter()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._refuse(400, "not HTTP/1.1 as this server reads it")
        if self._player is None:
            self._answer_next()

    def pause_writing(self) -> None:
        if self._player is not None:
            self._player.pause()

    def resume_writing(self) -> None:
        if self._player is not None:
            self._player.resume()

    def on_message_begin(self) -> None:
        self._url = b""
        self._id = ""
        self._expects = False
        self._body = bytearray()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(name) == 19 and name.lower() == b"x-client-request-id":
            self._id = value.decode("latin-1")
        elif len(name) == 6 and name.lower() == b"expect":
            self._expects = True

    def on_headers_complete(self) -> None:
        if self._expects and self._transport is not None:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._body += body
        if len(self._body) > BODY_CAP:
            self._body.clear()
            self._refuse(413, "the body is too large")

    def on_message_complete(self) -> None:
        if self._closing:
            return
        method, body = self._parser.get_method(), bytes(self._body)
        request = Request(method, self._url, self._id, body, self._received)
        self._waiting.append((request, self._parser.should_keep_alive()))
        if len(self._waiting) > PIPELINED_CAP:
            self._refuse(400, "too many requests in one pipeline")

    def _answer_next(self) -> None:
        if self._transport is None or self._closing or not self._waiting:
            return
        request, keep = self._waiting.popleft()
        self._closing = not keep
        reply = self._site.answer(request)
        self._counted = reply.record is not None
        if self._counted:
            self._site.stats.began()
        # A reply played at once frees the connection before Player() returns.
        self._player = player = Player(
            self._loop, self._clock, self._transport, reply, request.received
        )
        player.start(self._finished)

    def _finished(self) -> None:
        self._free()
        if self._closing and self._transport is not None:
            self._transport.close()
        self._answer_next()

    def _free(self) -> None:
        self._player = None
        if self._counted:
            self._site.stats.ended()

    def _refuse(self, status: int, message: str) -> None:
        """Answer once and close; nothing more is read."""
        if self._transport is None or self._closing:
            return
        self._closing = True
        reply = plain(error(status, message), status, connection="close")
        self._transport.write(reply.head + next(reply.steps).data)
        self._transport.close()
