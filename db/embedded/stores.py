"""Opens the embedded PostgreSQL and Valkey of a data directory and keeps them alive."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final, NamedTuple

from db.embedded.children import Children, open_children
from db.embedded.errors import explain
from db.embedded.keeper import Keeper
from db.embedded.place import Place, prepare
from db.embedded.postgres import Postgres
from db.embedded.valkey import Valkey

DATABASE: Final = "assay"


class Stores(NamedTuple):
    """Where to connect; empty for a store that was not asked for."""

    database_url: str
    redis_url: str


def _say_nothing(_: str) -> None:
    """Drop a line of the log."""


@asynccontextmanager
async def open_stores(
    data: Path,
    *,
    durable: bool = True,
    log: Callable[[str], None] = _say_nothing,
    postgres: bool = True,
    valkey: bool = True,
    children: Children | None = None,
) -> AsyncGenerator[Stores]:
    """Start the stores, restart one that dies, and stop both at the end; raises EmbeddedError."""
    async with AsyncExitStack() as stack:
        if children is None:
            children = await stack.enter_async_context(open_children(data, log=log))
        try:
            place = prepare(data)
            first = Postgres(place, children, durable=durable) if postgres else None
            second = Valkey(place, children, durable=durable) if valkey else None
        except OSError as error:
            raise explain(error, data) from error
        if second is not None:
            stack.callback(second.close)
        wanted = [service for service in (first, second) if service is not None]
        keepers = [Keeper(service, log, attempts=1) for service in wanted]
        stack.push_async_callback(_stop, keepers)
        await _start(keepers, data)
        if first is not None:
            await first.create_database(DATABASE)
        yield _addresses(place, first, second)


def _addresses(place: Place, postgres: Postgres | None, valkey: Valkey | None) -> Stores:
    return Stores(
        f"postgresql://app@/{DATABASE}?host={place.run}" if postgres else "",
        f"unix://{valkey.socket}?db=0" if valkey else "",
    )


async def _start(keepers: list[Keeper], data: Path) -> None:
    for keeper in keepers:
        keeper.begin()
    try:
        for keeper in keepers:
            await keeper.up()
    except OSError as error:
        raise explain(error, data) from error


async def _stop(keepers: list[Keeper]) -> None:
    async with asyncio.TaskGroup() as group:
        for keeper in keepers:
            group.create_task(keeper.stop())
