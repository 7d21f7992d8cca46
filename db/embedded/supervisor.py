"""Runs the stores and the programs on one machine, until a signal says to stop."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from db.embedded.children import Children, open_children
from db.embedded.programs import Line, Program
from db.embedded.stores import Stores, open_stores

__all__ = ["Program", "Supervisor"]

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
Plan = Callable[[Stores], Awaitable[Sequence[Program]]]


class Supervisor:
    """One data directory's stores and programs; make one, then `run` it on the main thread."""

    def __init__(
        self,
        data: Path,
        *,
        log: Callable[[str], None],
        durable: bool = True,
        postgres: bool = True,
        valkey: bool = True,
    ) -> None:
        self._data = data
        self._log = log
        self._durable = durable
        self._wanted = (postgres, valkey)
        self._children: Children | None = None
        self._task: asyncio.Task[None] | None = None
        self._stopping = False

    async def run(
        self, plan: Plan, *, when_up: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        """Start everything, await `when_up`, and return after a signal or `stop()`.

        Raises EmbeddedError when the stores or a program cannot start; everything is stopped first.
        """
        self._task = asyncio.create_task(self._work(plan, when_up))
        with self._signals():
            try:
                await self._task
            except asyncio.CancelledError:
                if not self._stopping:
                    raise

    def stop(self) -> None:
        """Stop in order; asked a second time, stop at once."""
        if self._stopping:
            if self._children is not None:
                self._children.kill_all()
            self._log("stopping at once")
        elif self._task is not None:
            self._stopping = True
            self._task.cancel()
            self._log("stopping; calls in flight may finish, a second signal stops at once")

    async def _work(self, plan: Plan, when_up: Callable[[], Awaitable[None]] | None) -> None:
        postgres, valkey = self._wanted
        async with (
            open_children(self._data, log=self._log) as children,
            open_stores(
                self._data,
                durable=self._durable,
                log=self._log,
                postgres=postgres,
                valkey=valkey,
                children=children,
            ) as stores,
        ):
            self._children = children
            line = Line(children, self._log)
            try:
                await line.start(await plan(stores))
                if when_up is not None:
                    await when_up()
                await asyncio.get_running_loop().create_future()
            finally:
                await line.stop()

    @contextmanager
    def _signals(self) -> Generator[None]:
        loop = asyncio.get_running_loop()
        heard = [number for number in SIGNALS if _wanted(number)]
        for number in heard:
            loop.add_signal_handler(number, self.stop)
        try:
            yield
        finally:
            for number in heard:
                loop.remove_signal_handler(number)


def _wanted(number: signal.Signals) -> bool:
    """Leave SIGHUP alone under nohup."""
    return number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN
