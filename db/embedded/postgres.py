"""An embedded PostgreSQL: makes its cluster once, starts it, and stops it quickly and cleanly."""

import asyncio
import contextlib
import shutil
import signal
import time
from pathlib import Path
from typing import Final

import asyncpg

from db.embedded.binaries import find_postgres
from db.embedded.child import Child, Command
from db.embedded.children import Children
from db.embedded.errors import DiskFull, StartFailed
from db.embedded.place import Place
from db.embedded.runtime import usable

ENV: Final = {"LC_ALL": "C", "PATH": "/usr/bin:/bin"}
SETTINGS: Final = {
    "unix_socket_permissions": "0700",
    "shared_buffers": "64MB",
    "max_connections": "60",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
CARELESS: Final = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
BUILTIN_LOCALE_SINCE: Final = 17
READY_WITHIN_S: Final = 120  # recovery reads the log of what a crash left
RETRY_S: Final = 20
STRANGER_S: Final = 4
STILL_THERE: Final = ("pre-existing shared memory block", 'lock file "postmaster.pid" already')


class Postgres:
    """One cluster in one data directory."""

    def __init__(self, place: Place, children: Children, *, durable: bool) -> None:
        self.name: Final = "postgres"
        self._place = place
        self._children = children
        self._durable = durable
        self._data = place.postgres / "data"
        self._found = find_postgres(_written_by(self._data))
        self._binary = usable(self._found, place.data, place.account)

    async def start(self) -> Child:
        """Start and wait until ready; after a crash old backends may take seconds to leave."""
        if not _exists(self._data):
            await self._make_cluster()
        began = time.monotonic()
        while True:
            try:
                return await self._start_once()
            except StartFailed as failure:
                waited = time.monotonic() - began
                if waited > RETRY_S or not any(words in failure.tail for words in STILL_THERE):
                    raise self._worded(failure) from failure
                if waited > STRANGER_S:
                    _drop_strangers_lock(self._data / "postmaster.pid")
            await asyncio.sleep(0.2)

    async def stop(self, child: Child) -> None:
        await child.stop()

    async def create_database(self, name: str) -> None:
        link = await asyncpg.connect(
            user="app", database="postgres", host=str(self._place.run), port=5432
        )
        try:
            if not await link.fetchval("select 1 from pg_database where datname = $1", name):
                await link.execute(f'create database "{name}" template template0')
        finally:
            await link.close()

    async def _start_once(self) -> Child:
        settings = SETTINGS | ({} if self._durable else CARELESS)
        options = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        where = ("-D", str(self._data), "-k", str(self._place.run), "-h", "")
        child = await self._children.spawn(self._command(str(self._binary), *where, *options))

        async def is_ready() -> bool:
            return _says_ready(self._data / "postmaster.pid", child.pid)

        await child.become_ready(is_ready, READY_WITHIN_S)
        return child

    async def _make_cluster(self) -> None:
        """Make it under another name: a killed initdb must not look like a cluster."""
        fresh = self._data.with_name("data.new")
        _remove(fresh)
        locale = ("--locale=C.UTF-8",)
        if self._found.version[0] >= BUILTIN_LOCALE_SINCE:  # plain C folds only ASCII
            locale = ("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C")
        options = ("-D", str(fresh), "-U", "app", "-A", "trust", "-E", "UTF8", *locale)
        careless = () if self._durable else ("--no-sync",)
        initdb = str(self._binary.with_name("initdb"))
        child = await self._children.spawn(self._command(initdb, *options, *careless))
        try:
            if await child.wait() != 0:
                raise self._worded(child.failure("its cluster could not be made"))
        except asyncio.CancelledError:
            await child.stop()
            raise
        fresh.rename(self._data)

    def _command(self, *argv: str) -> Command:
        """SIGINT is the fast shutdown; SIGTERM would wait for every client."""
        return Command(
            name=self.name,
            argv=argv,
            env=ENV,
            account=self._place.account,
            cwd="/",
            stop=signal.SIGINT,
            last=signal.SIGQUIT,
        )

    def _worded(self, failure: StartFailed) -> DiskFull | StartFailed:
        full = "No space left on device" in failure.tail
        return DiskFull(self._place.postgres) if full else failure


def _written_by(data: Path) -> str | None:
    try:
        return (data / "PG_VERSION").read_text().strip()
    except FileNotFoundError:
        return None


def _says_ready(pid_file: Path, pid: int) -> bool:
    """Read what pg_ctl reads: our own process number, and `ready` on line 8."""
    lines = pid_file.read_text().splitlines()
    return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"


def _drop_strangers_lock(pid_file: Path) -> None:
    """Remove a lock whose number now belongs to another program, as after a container's restart.

    The backends of the old server have had their seconds to leave by now.
    """
    with contextlib.suppress(OSError, ValueError, IndexError):
        holder = int(pid_file.read_text().split()[0])
        if b"postgres" not in Path(f"/proc/{holder}/cmdline").read_bytes():
            pid_file.unlink()


def _exists(path: Path) -> bool:
    return path.exists()


def _remove(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
