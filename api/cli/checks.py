"""What `doctor` looks at, one function each; every finding that is not ok says what to do."""

import os
import platform
import resource
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Final, Literal

import msgspec

from api.cli.client import open_client
from api.cli.exits import Ended
from api.cli.stack import is_set
from api.cli.talk import brief, program
from db.embedded.binaries import Found, find_postgres, find_valkey
from db.embedded.errors import EmbeddedError
from db.embedded.place import default_data
from db.migrate import SchemaTooOld, list_migrations, require_schema
from db.pool import open_pool
from db.queue import REDIS_DOWN, open_redis
from db.settings import Settings

State = Literal["ok", "warn", "fail"]
FILES: Final = 4096
GIB: Final = 1 << 30
COARSE_S: Final = 1e-4
OLDEST: Final = (3, 11)


class Finding(msgspec.Struct, frozen=True):
    state: State
    what: str
    said: str
    hint: str = ""


async def examine(
    environ: Mapping[str, str], settings: Settings, faults: list[str], url: str
) -> list[Finding]:
    """Look at everything, in the order in which a person would mend it."""
    return [
        python(),
        system(),
        settings_valid(faults),
        await postgres(environ, settings),
        await redis(environ, settings),
        await service(url),
        clock(),
        files(),
        disk(default_data(environ.get("XDG_STATE_HOME"))),
    ]


def python() -> Finding:
    fit = sys.version_info[:2] >= OLDEST
    hint = "" if fit else "Install Python 3.11 or newer."
    return Finding("ok" if fit else "fail", "Python", platform.python_version(), hint)


def system() -> Finding:
    said = f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs"
    if sys.platform in {"linux", "darwin"}:
        return Finding("ok", "platform", said)
    hint = "There are no embedded stores for it: set DATABASE_URL and REDIS_URL."
    return Finding("warn", "platform", said, hint)


def settings_valid(faults: list[str]) -> Finding:
    if faults:
        hint = f"`{program()} config` lists all settings; set it right or unset it."
        return Finding("fail", "settings", " ".join(faults), hint)
    return Finding("ok", "settings", "valid")


async def postgres(environ: Mapping[str, str], settings: Settings) -> Finding:
    """Ask the server that is set, or look for the one that `up` would start."""
    if not is_set(environ, "database_url"):
        return embedded("PostgreSQL", lambda: find_postgres(None))
    try:
        pool = await open_pool(settings.database_url, 1, wait_s=2)
    except Exception as error:  # noqa: BLE001 - the driver's errors have no common root but this one
        hint = "Start it, or set DATABASE_URL right."
        return Finding("fail", "PostgreSQL", brief(f"{type(error).__name__}: {error}"), hint)
    version = await pool.fetchval("show server_version")
    try:
        await require_schema(pool)
    except SchemaTooOld:
        hint = f"Run `{program()} migrate`."
        return Finding("warn", "PostgreSQL", f"{version}, without this version's schema", hint)
    finally:
        await pool.close()
    return Finding("ok", "PostgreSQL", f"{version}, schema {list_migrations()[-1].name}")


async def redis(environ: Mapping[str, str], settings: Settings) -> Finding:
    if not is_set(environ, "redis_url"):
        return embedded("Valkey", find_valkey)
    client = open_redis(settings.redis_url)
    try:
        await client.ping()  # pyright: ignore[reportUnknownMemberType]
    except REDIS_DOWN as error:
        hint = "Start it, or set REDIS_URL right; runs are taken without it, but start late."
        return Finding("fail", "Redis", brief(f"{type(error).__name__}: {error}"), hint)
    finally:
        await client.aclose()
    return Finding("ok", "Redis", "answers")


def embedded(what: str, find: Callable[[], Found]) -> Finding:
    try:
        found = find()
    except EmbeddedError as error:
        return Finding("fail", what, "none is set, and none can be started", brief(str(error)))
    return Finding("ok", what, f"none is set; `{program()} up` starts {found.words()}")


async def service(url: str) -> Finding:
    try:
        async with open_client(url) as client:
            state = await client.ready()
    except Ended as ended:
        return Finding("warn", "service", str(ended), ended.hint)
    if state == "ok":
        return Finding("ok", "service", f"{url} is ready")
    return Finding("warn", "service", f"{url} says {state}", "It runs without Redis: start that.")


def clock() -> Finding:
    """Measure what timings rest on: the smallest step that the clock shows."""
    stamps = [time.perf_counter_ns() for _ in range(1000)]
    step = min(b - a for a, b in pairwise(stamps) if b > a) / 1e9
    said = f"steps of {step * 1e9:.0f} ns"
    if step < COARSE_S:
        return Finding("ok", "clock", said)
    return Finding("warn", "clock", said, "Latencies are no finer than that: measure elsewhere.")


def files() -> Finding:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= FILES:
        return Finding("ok", "open files", f"limit {soft}")
    return Finding("warn", "open files", f"limit {soft}", f"Raise it: ulimit -n {FILES}.")


def disk(data: Path) -> Finding:
    place = next(each for each in (data, *data.parents) if each.exists())
    free = shutil.disk_usage(place).free / GIB
    said = f"{free:.1f} GiB free for {data}"
    if free >= 2:
        return Finding("ok", "disk", said)
    return Finding("warn" if free >= 0.5 else "fail", "disk", said, "Free some space.")
