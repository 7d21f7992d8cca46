"""One supervised process: what it was asked to be, its end, and its last words."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from db.embedded.account import STAY, Account
from db.embedded.errors import StartFailed
from db.embedded.processes import kill_group

POLL_S: Final = 0.02
POLL_MOST_S: Final = 0.25
CHECK_S: Final = 5.0
TAIL_BYTES: Final = 8192
TAIL_LINES: Final = 12

Check = Callable[[], Awaitable[bool]]


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """How to start a process, and how to end it: `stop`, then `last` after the grace."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    log: str = ""  # the log file's stem, when it is not the name
    account: Account = STAY
    cwd: str | None = None
    pass_fds: tuple[int, ...] = ()
    stop: int = signal.SIGTERM
    last: int = signal.SIGKILL
    grace_s: float = 20


class Child:
    """A process that runs, or has run."""

    def __init__(
        self, command: Command, process: asyncio.subprocess.Process, log: Path, said: int
    ) -> None:
        self.command = command
        self.pid: Final = process.pid
        self.log: Final = log
        self._process = process
        self._said = said  # where its own words begin
        self._gone = asyncio.Event()

    @property
    def returncode(self) -> int | None:
        return self._process.returncode if self._gone.is_set() else None

    async def reap(self) -> None:
        """Wait for the end, then end what is left of its group."""
        await self._process.wait()
        kill_group(self.pid)

    def mark_gone(self) -> None:
        self._gone.set()

    async def wait(self) -> int:
        await self._gone.wait()
        return self._process.returncode or 0

    async def become_ready(self, check: Check, within_s: float) -> None:
        """Poll until the check holds; raises StartFailed, leaving nothing running."""
        deadline = time.monotonic() + within_s
        pause = POLL_S
        try:
            while not await _holds(check):
                self._demand_life(deadline)
                await asyncio.sleep(pause)
                pause = min(pause * 1.5, POLL_MOST_S)
        except BaseException:
            await self.stop(grace_s=2)
            raise

    async def stop(self, grace_s: float | None = None) -> None:
        """Ask it to end, insist after the grace, and kill its group at the last."""
        steps = ((self.command.stop, grace_s or self.command.grace_s), (self.command.last, 5.0))
        for number, patience in steps:
            self.send(number)
            try:
                await asyncio.wait_for(self.wait(), patience)
            except TimeoutError:
                continue
            return
        kill_group(self.pid)
        await self.wait()

    def send(self, number: int) -> None:
        if not self._gone.is_set() and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """End it without grace; PostgreSQL's last signal is not SIGKILL."""
        self.send(self.command.last)

    def _demand_life(self, deadline: float) -> None:
        if self._gone.is_set():
            raise self.failure(how_it_ended(self._process.returncode or 0))
        if time.monotonic() > deadline:
            raise self.failure("it was not ready in time")

    def failure(self, what: str) -> StartFailed:
        return StartFailed(self.command.name, what, self.tail(), self.log)

    def tail(self) -> str:
        """Return the last lines that this process wrote."""
        with self.log.open("rb") as log:
            log.seek(max(self._said, _size(self.log) - TAIL_BYTES))
            text = log.read().decode(errors="replace")
        return "\n".join(text.splitlines()[-TAIL_LINES:])


def how_it_ended(returncode: int) -> str:
    if returncode < 0:
        return f"ended by signal {-returncode} ({signal.strsignal(-returncode)})"
    return f"ended with exit code {returncode}"


async def _holds(check: Check) -> bool:
    try:
        return await asyncio.wait_for(check(), CHECK_S)
    except (OSError, TimeoutError):
        return False


def _size(path: Path) -> int:
    return path.stat().st_size
