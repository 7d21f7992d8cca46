"""The whole service on one machine: stores, schema, and the programs with their environment."""

import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit

import msgspec

from api.cli import ports
from api.cli.schema import bring_up
from api.cli.talk import brief, say
from db.embedded.stores import Stores
from db.embedded.supervisor import Program, Supervisor
from db.settings import load, variable

PYTHON: Final = (sys.executable, "-P", "-m")  # -P: no `worker` folder of the caller's


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be started; `environ` may already name stores or a simulator."""

    data: Path
    environ: Mapping[str, str]
    host: str
    port: int
    workers: int = 1
    durable: bool = True

    @property
    def url(self) -> str:
        return ports.url(self.host, self.port)

    def names(self, field: str) -> bool:
        return is_set(self.environ, field)


class Stack:
    """Starts a wish, says how far it is, and knows what it put outside its data directory."""

    def __init__(self, wish: Wish) -> None:
        self._wish = wish
        self._began = time.monotonic()
        self.sockets: Path | None = None
        self.supervisor: Final = Supervisor(
            wish.data,
            log=self._log,
            durable=wish.durable,
            postgres=not wish.names("database_url"),
            valkey=not wish.names("redis_url"),
        )

    async def run(self, when_up: Callable[[], Awaitable[None]]) -> None:
        """Start it, await `when_up`, and stay until a signal or `supervisor.stop()`."""
        self.say(f"starting {self._stores()}")
        await self.supervisor.run(self._plan, when_up=when_up)

    def say(self, text: str) -> None:
        say(f"[{time.monotonic() - self._began:5.1f} s] {text}")

    def _log(self, text: str) -> None:
        self.say(brief(text))

    def _stores(self) -> str:
        fields = {"database_url": "PostgreSQL", "redis_url": "Valkey"}
        own = [name for field, name in fields.items() if not self._wish.names(field)]
        return f"{' and '.join(own) or 'no store of its own'}, data in {self._wish.data}"

    async def _plan(self, stores: Stores) -> list[Program]:
        self.sockets = socket_folder(stores.database_url)
        environ = child_environ(self._wish, stores, simulator=ports.claim("127.0.0.1", 0))
        await self._migrate(load(environ).database_url)
        workers = f"{self._wish.workers} worker{'s' * (self._wish.workers > 1)}"
        self.say(f"starting the API on port {self._wish.port}, {workers} and the scheduler")
        return programs(self._wish, environ)

    async def _migrate(self, database_url: str) -> None:
        applied = await bring_up(database_url)
        self.say(f"schema: applied {', '.join(applied)}" if applied else "schema: up to date")


def child_environ(wish: Wish, stores: Stores, *, simulator: int) -> dict[str, str]:
    """Make the programs' environment: ours, and what of it was not decided there."""
    environ = dict(wish.environ)
    own = {
        "database_url": stores.database_url,
        "redis_url": stores.redis_url,
        "auth": "open",
        "sim_url": ports.url("127.0.0.1", simulator),
    }
    environ |= {variable(name): value for name, value in own.items() if not wish.names(name)}
    for name, value in (("host", wish.host), ("port", str(wish.port))):
        environ.pop(f"{variable(name)}_FILE", None)
        environ[variable(name)] = value
    return environ


def programs(wish: Wish, environ: Mapping[str, str]) -> list[Program]:
    """List what to run; the simulator is stopped last, while workers may still call it."""
    settings = load(environ)

    async def ready() -> bool:
        return await ports.is_ready(wish.host, wish.port)

    def program(name: str, *argv: str, **more: object) -> Program:
        plain = Program(name=name, argv=(*PYTHON, *argv), env=environ, order=1, start_attempts=3)
        return msgspec.structs.replace(plain, **more)

    grace = settings.drain_s + 5
    wanted = [
        program("api", "api", ready=ready),
        program("worker", "worker", count=wish.workers, stop_grace_s=grace),
        program("scheduler", "scheduler"),
    ]
    if not wish.names("sim_url"):
        port = str(urlsplit(settings.sim_url).port)
        wanted.append(program("simulator", "worker.simulator", "--port", port, order=0))
    return wanted


def is_set(environ: Mapping[str, str], field: str) -> bool:
    """Say whether the environment decides a setting, directly or through a file."""
    name = variable(field)
    return name in environ or f"{name}_FILE" in environ


def socket_folder(database_url: str) -> Path | None:
    """Return the directory of the embedded stores' sockets; it may lie outside the data."""
    host = parse_qs(urlsplit(database_url).query).get("host")
    return Path(host[0]) if host else None
