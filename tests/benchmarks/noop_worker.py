"""A worker whose jobs only note when they began: `noop_worker arq|assay REDIS_URL`."""

import asyncio
import logging
import sys
import time

import uvloop
from arq.connections import ArqRedis
from arq.worker import Worker, func

from db.queue import open_redis
from worker.consume import LeaseWorker

STARTED = "bench:started"
SLOTS = 100


class Notes:
    """Gathers the starts and writes them a few times a second, off the jobs' path."""

    def __init__(self, url):
        self.redis, self.starts = ArqRedis.from_url(url), []

    def note(self, name):
        self.starts.append(f"{name} {time.perf_counter():.9f}")

    async def write(self):
        while True:
            await asyncio.sleep(0.01)
            if self.starts:
                starts, self.starts = self.starts, []
                await self.redis.rpush(STARTED, *starts)


async def run_arq(url, notes):
    async def noop(_, name):
        notes.note(name)

    await Worker(
        [func(noop, name="noop")],
        redis_pool=ArqRedis.from_url(url),
        handle_signals=False,
        max_jobs=SLOTS,
    ).main()


async def run_assay(url, notes):
    async def execute(slice_id):
        notes.note(slice_id)

    worker = LeaseWorker(open_redis(url), execute, "bench", SLOTS)
    worker.listen(lambda _: None, lambda *_: None)
    await worker.main()


async def main(kind, url):
    notes = Notes(url)
    writing = asyncio.create_task(notes.write())
    await {"arq": run_arq, "assay": run_assay}[kind](url, notes)
    writing.cancel()


if __name__ == "__main__":
    logging.disable(logging.INFO)
    if sys.argv[1] == "arq":  # as shipped: the plain event loop
        asyncio.run(main(*sys.argv[1:]))
    else:
        uvloop.run(main(*sys.argv[1:]))
