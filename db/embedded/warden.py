"""Starts the guard, tells it what to stop should we be killed, and replaces it when it dies."""

import asyncio
import contextlib
import subprocess
import sys
from pathlib import Path
from typing import Final

GUARD: Final = Path(__file__).with_name("guard.py")
CHECK_S: Final = 1.0


class Warden:
    """Our end of the guard's pipe."""

    def __init__(self) -> None:
        self._lines: dict[int, bytes] = {}
        self._guard = _start()
        self._check = asyncio.create_task(self._keep())

    @property
    def pid(self) -> int:
        return self._guard.pid

    def register(self, pgid: int, stop: int, last: int, started: str) -> None:
        self._lines[pgid] = f"+{pgid} {stop} {last} {started}\n".encode()
        self._tell(self._lines[pgid])

    def forget(self, pgid: int) -> None:
        if self._lines.pop(pgid, None) is not None:
            self._tell(f"-{pgid}\n".encode())

    async def close(self) -> None:
        self._check.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._check
        _end(self._guard)

    def _tell(self, line: bytes) -> None:
        if self._guard.stdin is None or self._guard.poll() is not None:
            return  # _keep replaces it and tells everything anew
        with contextlib.suppress(BrokenPipeError):
            self._guard.stdin.write(line)

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(CHECK_S)
            if self._guard.poll() is not None:
                _end(self._guard)
                self._guard = _start()
                for line in self._lines.values():
                    self._tell(line)


def _start() -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - our own script
        [sys.executable, "-I", "-S", str(GUARD)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        bufsize=0,
        cwd="/",
        start_new_session=True,
    )


def _end(guard: subprocess.Popen[bytes]) -> None:
    if guard.stdin is not None:
        guard.stdin.close()
    guard.wait()
