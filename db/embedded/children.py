"""Starts processes through the shim, and answers for every one of them to the end."""

import asyncio
import fcntl
import os
import sys
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

from db.embedded.child import Child, Command
from db.embedded.errors import DataDirectoryBusy, explain
from db.embedded.leftovers import Record, stop_leftovers
from db.embedded.processes import kill_group
from db.embedded.warden import Warden

SHIM: Final = Path(__file__).with_name("shim.py")
ROTATE_BYTES: Final = 5 * 1024 * 1024
Log = Callable[[str], None]


class Children:
    """Every process started for one data directory; make it with `open_children`."""

    def __init__(self, data: Path, record: Record) -> None:
        self._logs = data / "logs"
        self._record = record
        self._warden = Warden()
        self._living: dict[Child, asyncio.Task[None]] = {}

    @property
    def guard_pid(self) -> int:
        return self._warden.pid

    async def spawn(self, command: Command) -> Child:
        """Start a process in a session of its own; call it on the main thread.

        The kernel's death signal fires when the *thread* that forked ends, hence the main one.
        """
        path = self._logs / f"{command.log or command.name}.log"
        with path.open("ab") as log:
            said = log.tell()
            process = await asyncio.create_subprocess_exec(
                *_through_shim(command),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=dict(command.env),
                cwd=command.cwd,
                pass_fds=command.pass_fds,
                start_new_session=True,
            )
        child = Child(command, process, path, said)
        entry = self._record.add(command.name, child.pid, command.stop)
        self._warden.register(child.pid, command.stop, command.last, entry.started)
        self._living[child] = asyncio.create_task(self._reap(child))
        return child

    def kill_all(self) -> None:
        for child in self._living:
            child.kill()

    async def close(self) -> None:
        for child, reaping in list(self._living.items()):
            kill_group(child.pid)
            await reaping
        await self._warden.close()

    async def _reap(self, child: Child) -> None:
        await child.reap()
        self._warden.forget(child.pid)
        self._record.remove(child.pid)
        del self._living[child]
        child.mark_gone()


@asynccontextmanager
async def open_children(data: Path, *, log: Log) -> AsyncGenerator[Children]:
    """Claim the data directory, stop what a killed supervisor left there, and watch our own."""
    try:
        _make(data)
    except OSError as error:
        raise explain(error, data) from error
    with _claimed(data):
        record = Record(data / "processes.json")
        await stop_leftovers(record, log)
        children = Children(data, record)
        try:
            yield children
        finally:
            await children.close()


def _make(data: Path) -> None:
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    if os.geteuid() == 0:
        data.chmod(data.stat().st_mode | 0o011)  # the stores' account must pass through
    logs = data / "logs"
    logs.mkdir(exist_ok=True, mode=0o700)
    for log in logs.glob("*.log"):
        if log.stat().st_size > ROTATE_BYTES:
            log.replace(log.with_suffix(".log.1"))


@contextmanager
def _claimed(data: Path) -> Generator[None]:
    try:
        lock = (data / "lock").open("w")
    except OSError as error:
        raise explain(error, data) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataDirectoryBusy(data) from None
        yield


def _through_shim(command: Command) -> list[str]:
    uid, gid, namespace = command.account
    who = "map" if namespace else "-" if uid is None else str(uid)
    facts = (str(os.getpid()), str(int(command.stop)), who, str(gid or 0))
    return [sys.executable, "-I", "-S", str(SHIM), *facts, *command.argv]
