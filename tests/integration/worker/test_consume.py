"""The queue on a real Valkey: once per id, at once, and nothing lost to the dead."""

import asyncio
import gc
import pickle
import shutil
import tempfile
import time
from pathlib import Path
from uuid import uuid4

import pytest
from redis.exceptions import ConnectionError as RedisGone

from db.embedded.stores import open_stores
from db.limits import PAUSE
from db.queue import (
    CANCEL,
    LEASES,
    QUEUE,
    Doorbell,
    Ring,
    close_redis,
    encode,
    open_redis,
)
from scheduler.upkeep import Floor, Pace, tick
from tests.integration.worker.job_log import Log, is_idle
from worker import consume

KEY = "arq:job:"


@pytest.fixture
def bell(redis):
    return Doorbell(redis)


async def test_a_job_is_executed_once_and_leaves_no_key(redis, bell, worker_of, until):
    log, slice_id = Log(), uuid4()
    await worker_of(log)
    assert await bell.ring([Ring(slice_id, 0)])
    await until(lambda: log.began == [slice_id])
    await until(lambda: is_idle(redis))


async def test_a_ring_is_once_per_id(redis, bell, worker_of, until):
    slice_id = uuid4()
    for _ in range(3):
        await bell.ring([Ring(slice_id, 0)])
        await bell.ring_many([Ring(slice_id, 0)] * 3)
    assert await redis.zcard(QUEUE) == 1
    await bell.ring([Ring(slice_id, 1)])
    assert await redis.zcard(QUEUE) == 2
    log = Log()
    await worker_of(log)
    await until(lambda: is_idle(redis))
    assert log.began == [slice_id] * 2


async def test_a_running_job_is_not_queued_again(redis, bell, worker_of, until):
    log, ring = Log(0.3), Ring(uuid4(), 0)
    await worker_of(log, "w1")
    await worker_of(log, "w2")
    await bell.ring([ring])
    await until(lambda: log.running)
    for _ in range(5):
        await bell.ring_many([ring])
        await asyncio.sleep(0.02)
    await until(lambda: is_idle(redis))
    assert log.began == [ring.slice_id]


async def test_thousands_are_rung_in_pipelines(redis, bell):
    assert await bell.ring_many(Ring(uuid4(), 0) for _ in range(1234))
    assert await redis.zcard(QUEUE) == 1234


async def test_an_idle_worker_hears_within_milliseconds(bell, worker_of, until):
    log = Log()
    await worker_of(log)
    await asyncio.sleep(0.2)
    waits = []
    for _ in range(15):
        slice_id = uuid4()
        before = time.perf_counter()
        await bell.ring([Ring(slice_id, 0)])
        await until(lambda slice_id=slice_id: slice_id in log.times)
        waits.append(log.times[slice_id] - before)
    assert sorted(waits)[7] < 0.05, waits


async def test_a_dead_workers_job_comes_back_after_its_lease(
    redis, bell, worker_of, until, monkeypatch
):
    monkeypatch.setattr(consume, "LEASE_MS", 600)
    dead, alive, slice_id = Log(60), Log(), uuid4()
    worker = await worker_of(dead, "dead")
    await bell.ring([Ring(slice_id, 0)])
    await until(lambda: dead.running)
    worker.main_loop.cancel()  # nobody renews: as after kill -9
    died = time.perf_counter()
    await worker_of(alive, "alive")
    await until(lambda: alive.began == [slice_id])
    assert 0.2 < time.perf_counter() - died < 2.5
    await until(lambda: is_idle(redis))


async def test_a_living_workers_job_is_renewed(redis, bell, worker_of, until, monkeypatch):
    monkeypatch.setattr(consume, "LEASE_MS", 300)
    log, thief = Log(1.2), Log()
    await worker_of(log, "holder")
    await bell.ring([Ring(uuid4(), 0)])
    await until(lambda: log.running)
    await worker_of(thief, "thief")
    await until(lambda: is_idle(redis))
    assert (len(log.began), thief.began) == (1, [])


async def test_only_the_leases_owner_finishes_a_job(redis, bell, worker_of, until):
    log, ring = Log(0.2), Ring(uuid4(), 0)
    await worker_of(log, "late")
    await bell.ring([ring])
    await until(lambda: log.running)
    await redis.hset(LEASES, ring.job_id, "somebody else")
    await until(lambda: not log.running)
    await asyncio.sleep(0.1)
    assert await redis.exists(KEY + ring.job_id)
    assert await redis.zscore(QUEUE, ring.job_id)


async def test_more_than_a_hundred_jobs_run_at_once(redis, bell, worker_of, until):
    first, second = Log(3), Log(3)
    await worker_of(first, "w1", slots=120)
    await worker_of(second, "w2", slots=120)
    await bell.ring_many(Ring(uuid4(), 0) for _ in range(200))
    await until(lambda: first.running + second.running == 200, 3)
    assert first.peak <= 120
    assert second.peak <= 120
    assert len(set(first.began + second.began)) == 200


async def test_no_more_jobs_run_than_there_are_slots(redis, bell, worker_of, until):
    log = Log(0.02)
    await worker_of(log, slots=3)
    await bell.ring_many(Ring(uuid4(), 0) for _ in range(20))
    await until(lambda: is_idle(redis))
    assert (len(log.began), log.peak) == (20, 3)


class Trap:
    """Shouts when it is unpickled."""

    def __reduce__(self):
        return exec, ("import gc; gc.callbacks.append('sprung')",)


@pytest.mark.parametrize(
    "payload",
    [
        pickle.dumps(Trap()),
        b"",
        b"\xc1",
        encode({"t": 1}),
        encode([1, 2]),
        encode({"t": None, "f": "no_such_function", "a": [], "k": {}, "et": 1}),
        encode({"t": None, "f": "execute_slice", "a": ["not a uuid"], "k": {}, "et": 1}),
        encode({"t": None, "f": "execute_slice", "a": [1, 2, 3], "k": {"x": 1}, "et": 1}),
        None,
    ],
    ids=["pickle", "empty", "not msgpack", "no job", "a list", "unknown", "no id", "odd", "gone"],
)
async def test_a_bad_job_runs_nothing_and_harms_nobody(redis, bell, worker_of, until, payload):
    log, slice_id = Log(), uuid4()
    worker = await worker_of(log)
    if payload is not None:
        await redis.set(KEY + "x", payload)
    await redis.zadd(QUEUE, {"x": 1})
    await bell.ring([Ring(slice_id, 0)])
    await until(lambda: log.began == [slice_id])
    await until(lambda: is_idle(redis))
    assert "sprung" not in gc.callbacks
    assert not worker.main_loop.done()


async def test_garbage_on_the_channels_does_not_end_the_worker(redis, bell, worker_of, until):
    log, heard, slice_id = Log(), [], uuid4()
    worker = await worker_of(log)
    await worker.stop()
    worker.listen(heard.append, lambda *pause: heard.append(pause))
    task = asyncio.create_task(worker.main())
    await until(lambda: redis.execute_command("PUBSUB", "NUMSUB", CANCEL), 2)
    await asyncio.sleep(0.1)
    for channel in (CANCEL, PAUSE):
        for garbage in (b"", b"x", b"\xff\xfe", b"a b c", b"sim nan-"):
            await redis.publish(channel, garbage)
    await redis.publish(CANCEL, str(slice_id))
    await redis.publish(PAUSE, "sim 1.5")
    await until(lambda: heard == [slice_id, ("sim", 1.5)])
    assert not task.done()
    task.cancel()
    await asyncio.wait([task])


async def test_an_executor_that_fails_frees_its_slot(redis, bell, worker_of, until):
    calls = []

    async def fail(slice_id):
        calls.append(slice_id)
        raise ZeroDivisionError

    worker = await worker_of(fail, slots=1)
    await bell.ring(Ring(uuid4(), 0) for _ in range(3))
    await until(lambda: len(calls) == 3)
    await until(lambda: is_idle(redis))
    assert not worker.main_loop.done()


async def test_a_drained_worker_claims_no_more_and_hands_back_what_it_cancels(
    redis, bell, worker_of, until
):
    log, quick, ring = Log(60), Log(), Ring(uuid4(), 0)
    worker = await worker_of(log, "old")
    await bell.ring([ring])
    await until(lambda: log.running)
    await worker.drain(0.1)
    assert await redis.get("arq:retry:" + ring.job_id) == b"0", "a stop is no try"
    await bell.ring([Ring(uuid4(), 0)])
    await worker_of(quick, "new")
    await until(lambda: is_idle(redis))
    assert ring.slice_id in quick.began
    assert len(quick.began) == 2
    assert len(log.began) == 1


async def test_flushall_loses_nothing_that_postgres_knows(world, redis, worker_of, until, settings):
    runs = [await world.submit() for _ in range(5)]
    expected = {(await world.slice(run_id))["id"] for run_id in runs}
    await redis.flushall()
    await world.pool.execute("update slices set rung_at = rung_at - interval '6 s'")
    log = Log()
    await worker_of(log)
    await tick(Floor(world.pool, world.bell, settings), Pace(60))
    await until(lambda: set(log.began) == expected)


async def test_a_connection_that_fails_while_finishing_is_survived(
    redis, bell, worker_of, until, monkeypatch
):
    monkeypatch.setattr(consume, "LEASE_MS", 500)
    log, slice_id = Log(), uuid4()
    worker = await worker_of(log)
    finish, failures = worker._finish, []

    async def fail_once(**more):
        if not failures:
            failures.append(1)
            raise RedisGone("gone")
        return await finish(**more)

    worker._finish = fail_once
    await bell.ring([Ring(slice_id, 0)])
    await until(lambda: is_idle(redis))
    assert failures == [1]
    assert log.began == [slice_id] * 2, "it comes back after its lease; Postgres refuses it then"
    assert not worker.main_loop.done()


async def test_a_restart_of_redis_is_survived(worker_of, until):
    data = Path(tempfile.mkdtemp(prefix="assay-", dir="/tmp"))
    async with open_stores(data, durable=False, postgres=False) as opened:
        redis = open_redis(opened.redis_url)
        log, bell = Log(), Doorbell(redis)
        worker = await worker_of(log, url=opened.redis_url)
        await bell.ring([Ring(uuid4(), 0)])
        await until(lambda: len(log.began) == 1)
        with pytest.raises(RedisGone):
            await redis.execute_command("SHUTDOWN", "NOSAVE")
        worker.woken.set()
        assert not await bell.ring([Ring(uuid4(), 0)])
        await until(lambda: bell.ring([Ring(uuid4(), 0)]), 20)
        await until(lambda: len(log.began) >= 2, 5)
        assert not worker.main_loop.done()
        await asyncio.sleep(0.5)  # it hears again
        before, slice_id = time.perf_counter(), uuid4()
        await bell.ring([Ring(slice_id, 0)])
        await until(lambda: slice_id in log.times)
        assert log.times[slice_id] - before < 0.3
        await worker.stop()
        await close_redis(redis)
    shutil.rmtree(data, ignore_errors=True)
