"""A worker that only tells: claims a run's slice and writes stamped events at a steady rate."""

import asyncio
import os
import sys
import time
from uuid import UUID

import uvloop

from db.domain.events import make_event
from db.pool import open_pool
from db.queue import close_redis, open_redis
from db.settings import load
from db.slices import claim_slice
from worker.progress import Progress


async def main(run_id, rate, seconds):
    settings = load(os.environ)
    pool, redis = await open_pool(settings.database_url, 2), open_redis(settings.redis_url)
    slice_id = await pool.fetchval("select id from slices where run_id = $1", UUID(run_id))
    claim = await claim_slice(pool, slice_id, "bench", 600.0)
    progress = Progress(pool, redis, claim, flush_s=0.0)
    loop = asyncio.get_running_loop()
    start = loop.time()
    for n in range(rate * seconds):
        await asyncio.sleep(max(0, start + n / rate - loop.time()))
        progress.tell(make_event("tick", t=time.perf_counter(), pad="x" * 200))
        await progress.flush()
    await close_redis(redis)
    await pool.close()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
