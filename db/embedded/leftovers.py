"""The record of what runs, kept so that the next start can stop what a killed one left."""

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from db.embedded.processes import boot, group_lives, kill_group, signal_group, started

GRACE_S: Final = 5.0
POLL_S: Final = 0.05


class Entry(msgspec.Struct, frozen=True):
    """One process group, as it was when it was started."""

    name: str
    pid: int
    started: str
    boot: str
    stop: int = signal.SIGTERM

    def lives(self) -> bool:
        """Whether its members are still there; a number given to a newer leader does not count."""
        return (
            self.boot == boot()
            and started(self.pid) in {self.started, "-"}
            and group_lives(self.pid)
        )


class Record:
    """`processes.json` in the data directory, rewritten whole at each change."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._entries: dict[int, Entry] = {}
        self._boot = boot()

    def add(self, name: str, pid: int, stop: int) -> Entry:
        entry = Entry(name, pid, started(pid), self._boot, stop)
        self._entries[pid] = entry
        self._write()
        return entry

    def remove(self, pid: int) -> None:
        if self._entries.pop(pid, None) is not None:
            self._write()

    def left(self) -> list[Entry]:
        """Return what an earlier supervisor recorded and what still lives of it."""
        try:
            entries = msgspec.json.decode(self._path.read_bytes(), type=list[Entry])
        except (OSError, msgspec.MsgspecError):
            return []
        return [entry for entry in entries if entry.lives()]

    def _write(self) -> None:
        """Never fail for the record: it is the third line, after PDEATHSIG and the guard."""
        fresh = self._path.with_suffix(".new")
        with contextlib.suppress(OSError):
            fresh.write_bytes(msgspec.json.encode(list(self._entries.values())))
            fresh.replace(self._path)


async def stop_leftovers(record: Record, log: Callable[[str], None]) -> None:
    left = record.left()
    for entry in left:
        log(f"stopping {entry.name} (process {entry.pid}), left by a start that was killed")
        signal_group(entry.pid, entry.stop)
    deadline = time.monotonic() + GRACE_S
    while any(entry.lives() for entry in left) and time.monotonic() < deadline:  # noqa: ASYNC110 - not our children: no event tells of their end
        await asyncio.sleep(POLL_S)
    for entry in left:
        if entry.lives():
            kill_group(entry.pid)
