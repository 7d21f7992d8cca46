"""How an execution ends other than by its plan: stopped, failed, or delivered twice."""

import asyncio
import contextlib
import json

from db.domain.samples import Sample
from db.samples import list_samples
from db.settle import settle_run
from worker import progress as progress_module
from worker.execute import execute_slice
from worker.progress import Progress

FAST = "sim/ttft-5-itl-1-n-8"


async def test_a_stopping_worker_hands_back_and_another_does_the_rest(
    world, process, simulator, until, ended
):
    old, new = await process("old"), await process("new")
    old.start()
    run_id = await world.submit(models=("sim/ttft-20-itl-1-n-10",), runs=20)

    async def begun():
        return (await world.run(run_id))["done"] >= 3

    await until(begun)
    old.hands.stopping.set()
    await old.worker.drain(5)
    assert not old.hands.busy
    row = await world.slice(run_id)
    assert (row["state"], row["crash_count"]) == ("queued", 0)
    new.start()
    run = await ended(run_id)
    assert (run["state"], run["done"]) == ("completed", 20)
    samples = await list_samples(world.pool, run_id)
    assert [row["key"] for row in samples] == list(range(20))
    assert len(await simulator.ledger(run_id)) == 20, "nothing is called twice"
    await world.check(run_id)


async def test_a_worker_stopped_by_force_keeps_every_finished_sample(
    world, process, simulator, until, ended
):
    old, new = await process("old", flush_s=5.0), await process("new")
    old.start()
    run_id = await world.submit(models=(FAST, "sim_anthropic/never-ends"), runs=4)

    async def first_lane_done():
        ledger = await simulator.ledger(run_id)
        return len([r for r in ledger if r["wire"] == "openai" and r["outcome"] == "complete"]) == 4

    await until(first_lane_done)
    await asyncio.sleep(0.1)
    assert (await world.run(run_id))["done"] == 0, "nothing is flushed yet"
    old.hands.stopping.set()
    await old.worker.drain(0.05)
    assert (await world.run(run_id))["done"] == 4
    assert (await world.slice(run_id))["crash_count"] == 0
    await old.stop()
    await world.check(run_id)
    assert (await world.claim(run_id)) is not None
    assert new.hands.busy == 0


async def test_the_last_samples_survive_a_slow_database(world, process, monkeypatch):
    """A run may end while its last but one batch is being written."""
    slow = progress_module.record_batch

    async def record(db, batch):
        await asyncio.sleep(0.05)
        return await slow(db, batch)

    monkeypatch.setattr(progress_module, "record_batch", record)
    one = await process(flush_s=0.001)
    for _ in range(3):
        run_id = await world.submit(models=("sim/ttft-2-n-2",), runs=25)
        await execute_slice(one.body, (await world.slice(run_id))["id"])
        run = await world.run(run_id)
        assert (run["state"], run["done"]) == ("completed", 25)
        await world.check(run_id)


async def test_a_flush_that_is_cancelled_loses_nothing(world, redis):
    run_id = await world.submit(runs=30)
    claim = await world.claim(run_id)
    progress = Progress(world.pool, redis, claim, 0.0)
    for key in range(30):
        sample = Sample(
            key=key, provider="sim", model_id="m", context_tokens=0, ordinal=1, ok=True, attempts=1
        )
        progress.add(sample, [])
        task = asyncio.create_task(progress.flush())
        for _ in range(key % 7):
            await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    await progress.flush()
    assert (await world.run(run_id))["done"] == 30
    await world.check(run_id)


async def test_an_unforeseen_failure_fails_the_run_blandly(world, process, monkeypatch):
    one = await process()
    run_id = await world.submit(models=(FAST,))
    target = "worker.runs.benchmark.make_plan"
    monkeypatch.setattr(target, lambda _: 1 / 0)
    await execute_slice(one.body, (await world.slice(run_id))["id"])
    run = await world.run(run_id)
    assert run["state"] == "failed"
    assert json.loads(run["error"]) == {
        "code": "SERVER_ERROR",
        "message": "The run failed unexpectedly.",
    }
    await world.check(run_id)


async def test_an_executor_that_cancels_itself_is_no_success(world, process, monkeypatch):
    async def give_up(_):
        raise asyncio.CancelledError

    one = await process()
    run_id = await world.submit(models=(FAST,))
    monkeypatch.setattr("worker.execute.JOBS", {"benchmark": give_up})
    await execute_slice(one.body, (await world.slice(run_id))["id"])
    assert (await world.run(run_id))["state"] == "failed"


async def test_a_slice_that_is_over_is_not_executed(world, process, simulator):
    one = await process()
    run_id = await world.submit(models=(FAST,))
    await settle_run(world.pool, run_id, cancelled=True)
    await execute_slice(one.body, (await world.slice(run_id))["id"])
    assert await simulator.ledger(run_id) == []


async def test_two_deliveries_of_one_slice_execute_it_once(world, process, simulator):
    one, other = await process("w1"), await process("w2")
    run_id = await world.submit(models=(FAST,), runs=3)
    slice_id = (await world.slice(run_id))["id"]
    await asyncio.gather(*(execute_slice(p.body, slice_id) for p in (one, other, one)))
    assert len(await simulator.ledger(run_id)) == 3
    await world.check(run_id)
