"""An embedded Valkey (or Redis): one server per directory, which the server itself does not see to."""

import asyncio
import fcntl
import os
import time
from pathlib import Path
from typing import Final

import msgspec

from db.embedded.binaries import Found, find_valkey
from db.embedded.child import Child, Command
from db.embedded.children import Children
from db.embedded.errors import DataDirectoryBusy, VersionMismatch
from db.embedded.place import Place
from db.embedded.runtime import usable

READY_WITHIN_S: Final = 120  # a long append-only file is read first
LOCK_WITHIN_S: Final = 20
LAST_OPEN_REDIS: Final = (7, 2)  # newer ones write what Valkey cannot read


class Written(msgspec.Struct, frozen=True):
    """Who wrote the append-only file."""

    server: str
    version: tuple[int, int]


class Valkey:
    """One server over one append-only file."""

    def __init__(self, place: Place, children: Children, *, durable: bool) -> None:
        self.name: Final = "valkey"
        self._place = place
        self._children = children
        self._durable = durable
        self._record = place.valkey / "server.json"
        self._found = find_valkey()
        _refuse_downgrade(self._record, self._found)
        self._binary = usable(self._found, place.data, place.account)
        self._lock: int | None = None

    @property
    def socket(self) -> Path:
        return self._place.run / "valkey.sock"

    async def start(self) -> Child:
        """Start under a lock that the server inherits: it never locks its directory itself."""
        if self._lock is None:
            self._lock = await _lock(self._place.valkey / "lock")
        self._record.write_bytes(
            msgspec.json.encode(Written(self._found.server, self._found.version))
        )
        child = await self._children.spawn(self._command(self._lock))
        await child.become_ready(self._answers, READY_WITHIN_S)
        return child

    async def stop(self, child: Child) -> None:
        await child.stop()

    def close(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    async def _answers(self) -> bool:
        reader, writer = await asyncio.open_unix_connection(str(self.socket))
        try:
            writer.write(b"PING\r\n")
            return await reader.readline() == b"+PONG\r\n"
        finally:
            writer.close()

    def _command(self, lock: int) -> Command:
        options = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "600",
            "dir": str(self._place.valkey),
            "appendonly": "yes",
            "appendfsync": "everysec" if self._durable else "no",
            "save": "",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
        }
        words = [word for key, value in options.items() for word in (f"--{key}", value)]
        return Command(
            name=self.name,
            argv=(str(self._binary), *words),
            env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"},
            account=self._place.account,
            cwd="/",
            pass_fds=(lock,),
        )


async def _lock(path: Path) -> int:
    """Take the lock, giving the server of a killed supervisor time to leave."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + LOCK_WITHIN_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(lock)
                raise DataDirectoryBusy(path.parent) from None
            await asyncio.sleep(0.1)
        else:
            return lock


def _refuse_downgrade(record: Path, found: Found) -> None:
    try:
        written = msgspec.json.decode(record.read_bytes(), type=Written)
    except FileNotFoundError:
        return
    if written.server == found.server:
        readable = written.version <= found.version
    else:
        readable = written.server == "redis" and written.version <= LAST_OPEN_REDIS
    if not readable:
        raise VersionMismatch(
            f"The queue was written by {written.server} {written.version[0]}.{written.version[1]}, "
            f"which {found.words()} cannot read: install the former, set REDIS_URL, or remove "
            f"{record.parent} (runs are kept in PostgreSQL)."
        )
