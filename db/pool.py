"""Connections to Postgres, with JSON as bytes: msgspec reads and writes it."""

import asyncio
from typing import TYPE_CHECKING, Final

import asyncpg

if TYPE_CHECKING:
    Pool = asyncpg.Pool[asyncpg.Record]
    Connection = (
        asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]
    )
else:  # the stubs' generics do not exist at run time
    Pool = asyncpg.Pool
    Connection = asyncpg.Connection

# What a restart or a fail-over of the server looks like from here; trying again may help.
OUTAGES: Final = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # a connection that breaks in mid-protocol
    asyncpg.OperatorInterventionError,  # shut down, crashed, starting, cancelled
    asyncpg.InsufficientResourcesError,  # disk full, out of memory or connections
    asyncpg.PostgresSystemError,  # its disk fails
    asyncpg.TransactionRollbackError,  # deadlock
    asyncpg.ReadOnlySQLTransactionError,
    OSError,
    TimeoutError,
)


async def open_pool(dsn: str, size: int, *, wait_s: float = 30.0) -> Pool:
    """Open a pool, waiting up to `wait_s` for the server; raise what still fails then."""
    deadline = asyncio.get_running_loop().time() + wait_s
    while True:
        try:
            return await asyncpg.create_pool(
                dsn,
                min_size=1,
                max_size=size,
                init=_speak_json,
                command_timeout=60,
                max_inactive_connection_lifetime=60,
                server_settings={"application_name": "assay", "timezone": "UTC"},
            )
        except OUTAGES:
            if asyncio.get_running_loop().time() > deadline:
                raise
            await asyncio.sleep(0.1)


async def _speak_json(connection: Connection) -> None:
    for name, version in (("json", b""), ("jsonb", b"\x01")):
        await connection.set_type_codec(
            name,
            schema="pg_catalog",
            encoder=version.__add__,
            decoder=(lambda data: data[1:]) if version else bytes,
            format="binary",
        )
