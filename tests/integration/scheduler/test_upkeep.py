"""What keeps runs moving: leases, rings, settlements, cancels; one tick at a time."""

import asyncio
import json

import pytest

from db.bus import PREFIX, decode_batch
from db.domain.lifecycle import POISON_CRASHES
from db.queue import LEASES, QUEUE, Doorbell, close_redis, next_message, open_redis
from db.slices import finish_slice
from db.submit import cancel
from scheduler.upkeep import Floor, Pace, tick


@pytest.fixture
def floor(world, settings):
    return Floor(world.pool, world.bell, settings)


@pytest.fixture
def ready():
    """A pace that has watched long enough."""
    return Pace(0.0)


async def age(world, column, table="runs", seconds=10):
    await world.pool.execute(
        f"update {table} set {column} = {column} - make_interval(secs => $1)", float(seconds)
    )


async def test_waiting_slices_are_rung_in_their_turn(world, floor, ready):
    cap = floor.settings.user_concurrency
    run_id = await world.submit(slices=cap + 5, cap=0)
    assert await world.redis.zcard(QUEUE) == 0
    await tick(floor, ready)
    assert await world.redis.zcard(QUEUE) == cap
    await tick(floor, ready)
    assert await world.redis.zcard(QUEUE) == cap
    for part in range(cap):
        claim = await world.claim(run_id, part)
        assert claim
        await finish_slice(world.pool, claim.slice_id, claim.epoch)
    await tick(floor, ready)
    assert await world.redis.zcard(QUEUE) == cap + 5


async def test_a_greedy_user_delays_nobody(world, floor, ready):
    await world.submit(slices=500, cap=8)
    late = await world.submit(owner=await world.user(), cap=0)
    await tick(floor, ready)
    assert (await world.slice(late))["rung_at"] is not None


async def test_a_slice_that_redis_forgot_is_rung_again(world, floor, ready):
    await world.submit()
    await world.redis.flushall()
    await tick(floor, ready)
    assert await world.redis.zcard(QUEUE) == 0, "it may still be heard"
    await age(world, "rung_at", "slices")
    await tick(floor, ready)
    await tick(floor, ready)
    assert await world.redis.zcard(QUEUE) == 1


async def test_an_expired_lease_is_taken_back_and_rung_under_its_new_epoch(world, floor, ready):
    run_id = await world.submit()
    claim = await world.claim(run_id)
    await world.redis.flushall()
    await world.lapse(run_id)
    await tick(floor, ready)
    row = await world.slice(run_id)
    assert (row["state"], row["crash_count"]) == ("queued", 1)
    assert await world.redis.zrange(QUEUE, 0, -1) == [f"{row['id']}:{claim.epoch + 1}".encode()]
    await world.check(run_id)


async def test_no_lease_is_expired_before_its_holder_had_time_to_renew(world, floor):
    run_id = await world.submit()
    await world.claim(run_id)
    await world.lapse(run_id)
    pace = Pace(60)
    await tick(floor, pace)
    assert (await world.slice(run_id))["state"] == "running"
    ready = Pace(0.0)
    ready.interrupted()
    await tick(floor, ready)
    assert (await world.slice(run_id))["state"] == "queued"


async def test_a_poisonous_run_is_failed_and_told(world, floor, ready):
    run_id, fine = await world.submit(), await world.submit()
    channels = world.redis.pubsub(ignore_subscribe_messages=True)
    await channels.subscribe(PREFIX + str(run_id))
    await channels.get_message(timeout=1)
    for crash in range(POISON_CRASHES):
        assert (await world.run(run_id))["finished_at"] is None, crash
        assert await world.claim(run_id)
        await world.lapse(run_id)
        await tick(floor, ready)
    run = await world.run(run_id)
    assert (run["state"], json.loads(run["error"])["code"]) == ("failed", "POISON")
    (told,) = decode_batch((await next_message(channels, 2))[1])
    assert (told.type, told.seq) == ("error", run["last_seq"])
    await channels.aclose()
    await world.check(run_id)
    assert (await world.run(fine))["state"] == "queued"


async def test_a_run_that_stores_samples_between_crashes_lives(world, floor, ready):
    run_id = await world.submit(runs=9)
    for key in range(5):
        await world.record(await world.claim(run_id), 1, [key])
        await world.lapse(run_id)
        await tick(floor, ready)
    run = await world.run(run_id)
    assert (run["state"], run["done"]) == ("running", 5)
    await world.check(run_id)


async def test_a_cancel_that_no_worker_honours_is_honoured(world, floor, ready, local):
    run_id = await world.submit()
    await world.claim(run_id)
    await cancel(world.pool, world.bell, run_id, local)
    await tick(floor, ready)
    assert (await world.run(run_id))["state"] == "running", "its worker has time"
    await age(world, "cancel_requested_at", seconds=1.5)
    await tick(floor, ready)
    assert (await world.run(run_id))["state"] == "cancelled"
    await world.check(run_id)


async def test_a_run_whose_last_worker_died_before_settling_is_settled(world, floor, ready):
    run_id = await world.submit(runs=1)
    claim = await world.claim(run_id)
    await world.record(claim, 1, [0])
    await finish_slice(world.pool, claim.slice_id, claim.epoch)
    await tick(floor, ready)
    assert (await world.run(run_id))["state"] == "completed"
    await world.check(run_id)


async def test_one_run_that_cannot_be_settled_stops_no_other(world, floor, ready):
    bad, good, waiting = await world.submit(), await world.submit(runs=1), await world.submit(cap=0)
    for run_id in (bad, good):
        claim = await world.claim(run_id)
        if run_id == good:
            await world.record(claim, 1, [0])
        await finish_slice(world.pool, claim.slice_id, claim.epoch)
    text = """update runs set spec = '{"kind":"of the future"}' where id = $1"""
    await world.pool.execute(text, bad)
    await tick(floor, ready)
    assert (await world.run(good))["state"] == "completed"
    assert (await world.slice(waiting))["rung_at"] is not None


async def test_schedulers_at_once_do_everything_once(world, floor, ready, local):
    runs = [await world.submit(runs=1) for _ in range(12)]
    for n, run_id in enumerate(runs):
        claim = await world.claim(run_id)
        if n % 3 == 0:
            await world.lapse(run_id)
        elif n % 3 == 1:
            await world.record(claim, 1, [0])
            await finish_slice(world.pool, claim.slice_id, claim.epoch)
        else:
            await cancel(world.pool, world.bell, run_id, local)
    await age(world, "cancel_requested_at")
    await asyncio.gather(*(tick(floor, ready) for _ in range(6)))
    states = [(await world.run(run_id))["state"] for run_id in runs]
    assert states == ["running", "completed", "cancelled"] * 4
    for run_id in runs:
        await world.check(run_id)
        assert (await world.slice(run_id))["crash_count"] <= 1


async def test_a_tick_without_redis_still_settles_and_rings_when_it_is_back(world, floor, ready):
    run_id = await world.submit(runs=1)
    claim = await world.claim(run_id)
    await world.record(claim, 1, [0])
    await finish_slice(world.pool, claim.slice_id, claim.epoch)
    await world.submit(cap=0)
    await world.redis.delete(QUEUE, LEASES)
    away = open_redis("unix:///tmp/assay-no-such-socket")
    await tick(floor._replace(bell=Doorbell(away)), ready)
    await close_redis(away)
    assert (await world.run(run_id))["state"] == "completed"
    assert await world.redis.zcard(QUEUE) == 0
    await age(world, "rung_at", "slices")
    await tick(floor, ready)
    assert await world.redis.zcard(QUEUE) == 1
