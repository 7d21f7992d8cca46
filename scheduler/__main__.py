"""Run the scheduler: `python -m scheduler`."""

import asyncio
import logging
import os
import signal
import sys
from contextlib import suppress
from typing import Final

import uvloop

from db.domain.errors import AppError
from db.migrate import require_schema
from db.pool import OUTAGES, open_pool
from db.queue import Doorbell, close_redis, open_redis
from db.settings import Settings, load
from scheduler.upkeep import Floor, Pace, tick

log: Final = logging.getLogger("assay.scheduler")
FORMAT: Final = "%(asctime)s %(levelname)s %(name)s %(message)s"
TICK_S: Final = 0.5


async def serve(settings: Settings) -> None:
    """Tick until SIGTERM or SIGINT; an outage of the stores only delays ticks."""
    told, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    redis = open_redis(settings.redis_url)
    pool = await open_pool(settings.database_url, 2)
    await require_schema(pool)
    floor, pace = Floor(pool, Doorbell(redis), settings), Pace(settings.lease_s)
    log.info("ready")
    while not told.is_set():
        try:
            await tick(floor, pace)
        except OUTAGES as error:
            log.warning("Postgres is away: %s", error)
            pace.interrupted()
        with suppress(TimeoutError):
            async with asyncio.timeout(TICK_S):
                await told.wait()
    await close_redis(redis)
    await pool.close()


def main() -> int:
    try:
        settings = load(os.environ)
        logging.basicConfig(level=settings.log_level.upper(), format=FORMAT)
        uvloop.run(serve(settings))
    except AppError as error:
        print(f"assay scheduler: {error}", file=sys.stderr)  # noqa: T201
        return 78
    return 0


if __name__ == "__main__":
    sys.exit(main())
