"""Keeps one service alive: starts it, waits for its end, and starts it again with backoff."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Final, Protocol

from db.embedded.child import Child, how_it_ended
from db.embedded.errors import EmbeddedError

FIRST_S: Final = 0.2
MOST_S: Final = 10.0
PROVEN_S: Final = 30.0


class Service(Protocol):
    """What a keeper keeps; `start` returns when it is ready and leaves nothing when it fails."""

    @property
    def name(self) -> str: ...

    async def start(self) -> Child: ...

    async def stop(self, child: Child) -> None: ...


class Keeper:
    """Restarts its service until it is stopped; `attempts` limits the tries for the first start."""

    def __init__(
        self, service: Service, log: Callable[[str], None], *, attempts: int | None = None
    ) -> None:
        self._service = service
        self._log = log
        self._attempts = attempts
        self._child: Child | None = None
        self._up = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child else None

    def begin(self) -> None:
        self._task = asyncio.create_task(self._keep())

    async def up(self) -> None:
        """Return when the service is ready for the first time; raises why it never will be."""
        waiting = asyncio.create_task(self._up.wait())
        keeping = self._task or waiting
        try:
            await asyncio.wait({waiting, keeping}, return_when=asyncio.FIRST_COMPLETED)
            if keeping.done():
                await keeping
        finally:
            waiting.cancel()

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError, EmbeddedError, OSError):
                await self._task
        if self._child is not None and self._child.returncode is None:
            await self._service.stop(self._child)

    async def _keep(self) -> None:
        delay, failures = FIRST_S, 0
        while True:
            began = time.monotonic()
            try:
                await self._live()
            except (EmbeddedError, OSError) as failure:
                failures += 1
                if not self._up.is_set() and failures == self._attempts:
                    raise
                self._log(f"{failure}")
            if time.monotonic() - began > PROVEN_S:
                delay = FIRST_S
            self._log(f"starting {self._service.name} again in {delay:g} s")
            await asyncio.sleep(delay)
            delay = min(delay * 2, MOST_S)

    async def _live(self) -> None:
        self._child = await self._service.start()
        self._up.set()
        ended = how_it_ended(await self._child.wait())
        tail = self._child.tail()
        self._log(f"{self._service.name} {ended}" + (f"\n{tail}" if tail else ""))
