"""The REST client: one call per method, and a run's events across lost connections."""

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

import aiohttp
import msgspec

from api.cli import exits
from api.cli.exits import Ended
from api.cli.sse import Event, Parser
from api.cli.talk import program
from api.cli.views import Created, Detail, Item, Page, Readiness
from db.domain.events import TERMINAL

T = TypeVar("T")
TIMEOUT: Final = aiohttp.ClientTimeout(total=30, connect=5)
STREAM_TIMEOUT: Final = aiohttp.ClientTimeout(total=None, connect=5, sock_read=30)
PATIENCE_S: Final = 60.0  # how long a stream may be lost before we give up
PAUSE_S: Final = 0.5
LOST: Final = (aiohttp.ClientError, TimeoutError, OSError)
MOST: Final = 1000  # of a page
CODES: Final[Mapping[int, int]] = {
    400: exits.INVALID,
    404: exits.NOT_FOUND,
    413: exits.INVALID,
    422: exits.INVALID,
}


class Trouble(msgspec.Struct):
    """An error as the API words it."""

    error: str
    code: str = ""


class Client:
    def __init__(self, session: aiohttp.ClientSession, base: str) -> None:
        self._session = session
        self.base: Final = base

    async def start(self, sheet: Mapping[str, Any]) -> str:
        """Submit a run; returns its id."""
        return self.read_as(await self._call("POST", "/api/runs", json=sheet), Created).run_id

    async def list_runs(self, limit: int, status: str | None = None) -> bytes:
        params = {"limit": str(limit)} | ({"status": status} if status else {})
        return await self._call("GET", "/api/runs", params=params)

    async def read(self, run_id: str) -> bytes:
        return await self._call("GET", f"/api/runs/{run_id}")

    async def fetch(self, run_id: str) -> Detail:
        return self.read_as(await self.read(run_id), Detail)

    def read_as(self, raw: bytes, kind: type[T]) -> T:
        """Decode an answer; raises Ended when it is not what this version of ours expects."""
        try:
            return msgspec.json.decode(raw, type=kind)
        except msgspec.MsgspecError as error:
            hint = "Are the service and this command of the same version?"
            raise Ended(f"{self.base} gave an answer unknown here: {error}.", hint=hint) from None

    async def samples(self, run_id: str) -> Page:
        """Read every sample of a run, page after page."""
        whole, after = Page(samples=[], attempts=[]), -1
        while after is not None:
            params = {"after": str(after), "limit": str(MOST)}
            raw = await self._call("GET", f"/api/runs/{run_id}/samples", params=params)
            page = self.read_as(raw, Page)
            whole.samples.extend(page.samples)
            whole.attempts.extend(page.attempts)
            after = page.next_after
        return whole

    async def cancel(self, run_id: str) -> None:
        await self._call("POST", f"/api/runs/{run_id}/cancel")

    async def ready(self) -> str:
        """Return the service's own word for its state."""
        return self.read_as(await self._call("GET", "/readyz"), Readiness).status

    async def resolve(self, name: str) -> str:
        """Find the id behind `@last` or the beginning of an id."""
        if len(name) == 36:
            return name
        limit = 1 if name == "@last" else MOST
        items = self.read_as(await self.list_runs(limit), list[Item])
        return choose(name, [item.run_id for item in items])

    async def events(self, run_id: str) -> AsyncGenerator[Event]:
        """Yield a run's events to its last one; a lost stream is taken up where it ended."""
        seen, deadline = 0, time.monotonic() + PATIENCE_S
        while True:
            try:
                async for event in self._stream(run_id, seen):
                    seen, deadline = event.seq, time.monotonic() + PATIENCE_S
                    yield event
                    if event.type in TERMINAL:
                        return
            except LOST as error:
                if time.monotonic() > deadline:
                    raise unreachable(self.base, error) from None
            await asyncio.sleep(PAUSE_S)

    async def _stream(self, run_id: str, after: int) -> AsyncGenerator[Event]:
        headers = {"Last-Event-ID": str(after)} if after else {}
        url = f"{self.base}/api/runs/{run_id}/events"
        async with self._session.get(url, headers=headers, timeout=STREAM_TIMEOUT) as answer:
            if answer.status >= 500:
                raise aiohttp.ClientError(answer.reason)  # it restarts, or Postgres does
            if answer.status >= 400:
                raise refused(self.base, answer.status, await answer.read())
            parser = Parser()
            async for data in answer.content.iter_any():
                for event in parser.feed(data):
                    if event.seq:
                        yield event

    async def _call(self, method: str, path: str, **more: Any) -> bytes:
        try:
            async with self._session.request(method, self.base + path, **more) as answer:
                body = await answer.read()
        except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError):
            raise Ended(f"{self.base} is not an http URL.", exits.USAGE) from None
        except LOST as error:
            raise unreachable(self.base, error) from None
        if answer.status >= 400 or answer.content_type != "application/json":
            raise refused(self.base, answer.status, body)
        return body


@asynccontextmanager
async def open_client(base: str) -> AsyncGenerator[Client]:
    async with aiohttp.ClientSession(timeout=TIMEOUT, trust_env=False) as session:
        yield Client(session, base)


def choose(name: str, ids: list[str]) -> str:
    """Pick the one id that a name means; raises Ended that lists the candidates."""
    found = ids[:1] if name == "@last" else [each for each in ids if each.startswith(name.lower())]
    if len(found) == 1:
        return found[0]
    if found:
        some = ", ".join(found[:5])
        raise Ended(f"{name!r} begins {len(found)} ids: {some}", exits.USAGE)
    what = (
        "There is no run yet" if name == "@last" else f"No run has an id that begins with {name!r}"
    )
    raise Ended(f"{what}.", exits.NOT_FOUND, f"`{program()} run list` lists the runs.")


def refused(base: str, status: int, body: bytes) -> Ended:
    """Word an answer that is an error, or that is not Assay's."""
    try:
        trouble = msgspec.json.decode(body, type=Trouble)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        hint = "Is another program there? Check --server and ASSAY_URL."
        return Ended(f"{base} answered {status}, but not as Assay does.", exits.UNREACHABLE, hint)
    code = CODES.get(status, exits.FAILURE)
    if code == exits.INVALID and trouble.code != "VALIDATION_ERROR" and status == 400:
        code = exits.FAILURE  # refused for the run's state, not for the request
    return Ended(trouble.error, code, HINTS.get(status, "").format(assay=program()))


HINTS: Final[Mapping[int, str]] = {
    401: "This service wants a login, which the command line cannot do yet.",
    404: "`{assay} run list` lists the runs.",
    503: "The service is up, its database is not: try again, or ask `{assay} doctor`.",
}


def unreachable(base: str, error: Exception) -> Ended:
    said = str(error)
    if isinstance(error, TimeoutError):
        said = "it did not answer in time"
    elif isinstance(error, OSError) and error.errno:
        said = os.strerror(error.errno)
    hint = f"Start it with `{program()} up`, or say where it is with --server or ASSAY_URL."
    return Ended(f"No service at {base}: {said}.", exits.UNREACHABLE, hint)
