"""The end of a run: once, for good, and without deadlock."""

import asyncio
import json
import random

import pytest

from db.domain.errors import LeaseLost
from db.settle import settle_run
from db.slices import finish_slice
from db.submit import cancel

ERROR = {"code": "POISON", "message": "The run killed 3 workers."}


@pytest.mark.parametrize(
    ("how", "state", "event"),
    [
        ({}, "completed", "complete"),
        ({"cancelled": True}, "cancelled", "cancelled"),
        ({"error": ERROR}, "failed", "error"),
    ],
)
async def test_a_run_ends_as_it_is_told(world, how, state, event):
    run_id = await world.submit(runs=2)
    claim = await world.claim(run_id)
    await world.record(claim, 1, [0, 1])
    told = await settle_run(world.pool, run_id, **how)
    run, events = await world.run(run_id), await world.events(run_id)
    assert (run["state"], told.type) == (state, event)
    assert tuple(events[-1]) == tuple(told)
    assert json.loads(told.data)["done"] == 2
    assert json.loads(run["summary"])["rows"][0]["ok"] == 2
    assert (json.loads(run["error"]) if run["error"] else None) == how.get("error")
    row = await world.slice(run_id)
    assert (row["state"], row["epoch"]) == (state, claim.epoch + 1), "fenced"
    await world.check(run_id)


async def test_a_run_whose_every_sample_failed_is_failed(world):
    run_id = await world.submit(runs=2)
    await world.record(await world.claim(run_id), 1, [0, 1], ok=False)
    told = await settle_run(world.pool, run_id)
    assert told.type == "error"
    assert json.loads(told.data)["code"] == "PROVIDER_TIMEOUT"
    assert json.loads((await world.run(run_id))["error"]) == {
        "code": "PROVIDER_TIMEOUT",
        "message": "All 2 samples failed: PROVIDER_TIMEOUT.",
    }


async def test_a_run_with_one_good_sample_is_completed(world):
    run_id = await world.submit(runs=2)
    claim = await world.claim(run_id)
    await world.record(claim, 1, [0], ok=False)
    await world.record(claim, 2, [1])
    assert (await settle_run(world.pool, run_id)).type == "complete"


async def test_a_terminal_state_never_changes(world, local):
    run_id = await world.submit(runs=1)
    await world.record(await world.claim(run_id), 1, [0])
    await settle_run(world.pool, run_id)
    before = await world.run(run_id), await world.events(run_id), await world.slices(run_id)
    for how in ({}, {"cancelled": True}, {"error": ERROR}):
        assert await settle_run(world.pool, run_id, **how) is None
    after = await world.run(run_id), await world.events(run_id), await world.slices(run_id)
    assert after == before


async def test_two_that_settle_at_once_give_one_end(world):
    for n in range(40):
        run_id = await world.submit(runs=1, slices=3)
        await world.record(await world.claim(run_id), 1, [0])
        hows = ({}, {"cancelled": True}, {"error": ERROR}, {})
        found = await asyncio.gather(
            *(settle_run(world.pool, run_id, **how) for how in hows[n % 4 :] + hows[: n % 4])
        )
        assert len([told for told in found if told]) == 1
        await world.check(run_id)


async def test_settling_and_writing_at_once_never_deadlock(world):
    """200 interleavings, each with writers of two slices and an end in the middle."""
    source = random.Random(5)
    runs = [await world.submit(runs=40, slices=2) for _ in range(200)]

    async def write(run_id, part):
        claim = await world.claim(run_id, part)
        wrote = 0
        try:
            for number in range(1, 12):
                await world.record(claim, number, [part * 20 + number])
                wrote += 1
        except LeaseLost:
            return wrote
        await finish_slice(world.pool, claim.slice_id, claim.epoch)
        return wrote

    async def end(run_id):
        while (await world.run(run_id))["done"] < source.randint(1, 8):
            await asyncio.sleep(0)
        await settle_run(world.pool, run_id, cancelled=True)

    async def once(run_id):
        async with gate:
            *wrote, _ = await asyncio.gather(write(run_id, 0), write(run_id, 1), end(run_id))
            assert (await world.run(run_id))["done"] == sum(wrote)
            await world.check(run_id)

    gate = asyncio.Semaphore(4)
    await asyncio.gather(*map(once, runs))
    ends = await world.pool.fetch("select state, count(*) from runs group by state")
    assert [tuple(row) for row in ends] == [("cancelled", 200)]


async def test_cancel_and_the_last_write_at_once_give_one_end(world, local):
    async def finish(run_id, claim):
        try:
            await world.record(claim, 1, [0])
        except LeaseLost:
            return
        if await finish_slice(world.pool, claim.slice_id, claim.epoch):
            await settle_run(world.pool, run_id)

    async def stop(run_id):
        await cancel(world.pool, world.bell, run_id, local)
        await settle_run(world.pool, run_id, cancelled=True)

    for _ in range(60):
        run_id = await world.submit(runs=1)
        claim = await world.claim(run_id)
        await asyncio.gather(finish(run_id, claim), stop(run_id), return_exceptions=True)
        assert (await world.run(run_id))["state"] in {"completed", "cancelled"}
        await world.check(run_id)
