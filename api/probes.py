"""Whether the stores answer."""

import asyncio
from typing import Final

from api.deps import Floor
from db.pool import OUTAGES
from db.queue import REDIS_DOWN

PROBE_S: Final = 1.0


async def probe_postgres(floor: Floor) -> str:
    """Write, not only read: a pool left on a read-only node answers `select 1` for ever."""
    try:
        async with asyncio.timeout(PROBE_S), floor.pool.acquire() as connection:
            await connection.execute("create temporary table if not exists probe (at timestamptz)")
            await connection.execute("drop table probe")
    except OUTAGES as error:
        return type(error).__name__
    return "ok"


async def probe_redis(floor: Floor) -> str:
    try:
        async with asyncio.timeout(PROBE_S):
            await floor.redis.ping()
    except REDIS_DOWN as error:
        return type(error).__name__
    return "ok"
