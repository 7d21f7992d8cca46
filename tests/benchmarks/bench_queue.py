"""The raw queue beside arq as shipped: enqueue, drain and dispatch of jobs that do nothing."""

import asyncio
import statistics
import sys
import time
from uuid import uuid4

from arq.connections import ArqRedis

from db.queue import Doorbell, Ring, close_redis, open_redis
from tests.benchmarks.report import fresh_stores, print_facts, print_table, spread

JOBS, ROUNDS, PROBES, CALLERS = 8_000, 3, 100, 16
STARTED = "bench:started"


async def arq_ring(redis, ids):
    await spread_over(ids, lambda job_id: redis.enqueue_job("noop", job_id, _job_id=job_id))


async def our_ring(redis, ids):
    bell = Doorbell(redis)
    await spread_over(ids, lambda job_id: bell.ring((Ring(job_id, 0),)))


async def spread_over(ids, enqueue):
    """Keep up to CALLERS calls in flight, as requests of an API do."""
    left = iter(ids)

    async def caller():
        for job_id in left:
            await enqueue(job_id)

    async with asyncio.TaskGroup() as group:
        for _ in range(min(CALLERS, len(ids))):
            group.create_task(caller())


def shipped(url):
    return ArqRedis.from_url(url)


ENGINES = {
    "arq 0.28 as shipped": ("arq", shipped, arq_ring),
    "Assay": ("assay", open_redis, our_ring),
}


async def main():
    print_facts(
        f"queue: {JOBS} no-op jobs, one worker process of 100 slots, one enqueuer with {CALLERS} callers, {ROUNDS} rounds"
    )
    rows = []
    async with fresh_stores() as (stores, _):
        rounds = {name: [] for name in ENGINES}
        for _ in range(ROUNDS):
            for name, engine in ENGINES.items():
                rounds[name].append(await measure(stores.redis_url, *engine))
        for name, results in rounds.items():
            enqueue, drain, dispatch = zip(*results, strict=True)
            probes = [value for values in dispatch for value in values]
            rows.append(
                (name, middle(enqueue), middle(drain), spread(probes, digits=2), len(probes))
            )
    print_table(
        ("engine", "enqueue/s, median [min-max]", "drain/s, median [min-max]",
         "dispatch ms p50 / p99 / max", "n"), rows,
    )  # fmt: skip


def middle(values):
    return f"{statistics.median(values):,.0f} [{min(values):,.0f}-{max(values):,.0f}]"


async def measure(url, worker_kind, connect, ring):
    """Enqueue with the worker off, drain, then time single jobs on the idle worker."""
    redis = connect(url)
    await redis.flushall()
    ids = [str(uuid4()) for _ in range(JOBS)]
    await ring(redis, [str(uuid4()) for _ in range(CALLERS)])  # open the connections
    await redis.flushall()
    began = time.perf_counter()
    await ring(redis, ids)
    enqueue = JOBS / (time.perf_counter() - began)
    worker = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.benchmarks.noop_worker", worker_kind, url
    )
    try:
        await started(redis, 1)
        first = float((await redis.lindex(STARTED, 0)).split()[1])
        await started(redis, JOBS)
        last = float((await redis.lindex(STARTED, -1)).split()[1])
        dispatch = [await probe(redis, ring) for _ in range(PROBES)]
    finally:
        worker.kill()
        await worker.wait()
        await close(redis)
    return enqueue, (JOBS - 1) / (last - first), dispatch


async def probe(redis, ring):
    """Time from the enqueue call to the job's first instruction, on one clock."""
    await asyncio.sleep(0.01)
    known = await redis.llen(STARTED)
    began = time.perf_counter()
    await ring(redis, [str(uuid4())])
    await started(redis, known + 1)
    return float((await redis.lindex(STARTED, -1)).split()[1]) - began


async def started(redis, count):
    while await redis.llen(STARTED) < count:
        await asyncio.sleep(0.005)


async def close(redis):
    await redis.flushall()
    await close_redis(redis)
