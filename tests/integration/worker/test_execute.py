"""The path of a slice with a real provider process, real stores and every way to end."""

import asyncio
import json
import time

import pytest

from db.bus import PREFIX, decode_batch
from db.domain.events import TERMINAL
from db.queue import next_message
from db.samples import list_attempts, list_samples
from db.slices import expire_leases
from db.submit import cancel
from worker.execute import execute_slice

FAST = "sim/ttft-5-itl-1-n-8"


async def test_a_benchmark_runs_end_to_end(world, process, simulator, ended):
    one = await process()
    one.start()
    models = (FAST, "sim_anthropic/ttft-5-itl-1-n-8", "sim_gemini/ttft-5-itl-1-n-8")
    run_id = await world.submit(models=models, runs=4, warmup=True, context_tiers=(0, 500, 50_000))
    run = await ended(run_id)
    assert (run["state"], run["done"], run["failed"], run["planned"]) == ("completed", 24, 0, 24)
    await world.check(run_id)
    events = await world.events(run_id)
    kinds = [row["type"] for row in events]
    assert kinds[:2] == ["status", "status"]
    assert (kinds.count("skipped"), kinds.count("progress"), kinds.count("result")) == (3, 24, 24)
    assert kinds[-1] in TERMINAL
    counted = [json.loads(e["data"])["current"] for e in events if e["type"] == "progress"]
    assert counted == list(range(1, 25))
    ledger = await simulator.ledger(run_id)
    assert len(ledger) == 24 + 6, "each planned sample once, and a warm-up per model and tier"
    ids = {record["id"] for record in ledger}
    for row in await list_samples(world.pool, run_id):
        assert row["response_id"] in ids
        assert (row["output_tokens"], row["tokens_from"], row["attempts"]) == (8, "usage", 1)
        assert 4 < row["ttft_ms"] < row["total_ms"] < 2000
        assert row["tpot_ms"] > 0
    prompts = [r["prompt_sha256"] for r in ledger if r["prompt_chars"] > 1000]
    assert len(prompts) == len(set(prompts)) == 15, "no context is sent twice"


async def test_what_is_published_is_what_is_stored(world, process, ended, redis):
    one = await process()
    run_id = await world.submit(models=(FAST,), runs=5)
    channels = redis.pubsub(ignore_subscribe_messages=True)
    await channels.subscribe(PREFIX + str(run_id))
    await channels.get_message(timeout=1)
    await execute_slice(one.body, (await world.slice(run_id))["id"])
    told = []
    while message := await next_message(channels, 0.3):
        told += decode_batch(message[1])
    await channels.aclose()
    assert [tuple(event) for event in told] == [
        tuple(row) for row in (await world.events(run_id))[1:]
    ]


async def test_a_failing_model_fails_the_run_and_hurts_no_other(world, process, ended):
    one = await process(retries=0)
    one.start()
    bad = await world.submit(models=("sim/status-500", "sim/garbage"), runs=2)
    good = await world.submit(models=("sim/status-500", FAST), runs=2)
    assert (await ended(bad))["state"] == "failed"
    run = await ended(good)
    assert (run["state"], run["done"], run["failed"]) == ("completed", 4, 2)
    for run_id in (bad, good):
        await world.check(run_id)


async def test_retries_are_attempts_of_their_own(world, process, simulator, ended):
    one = await process(retries=10)
    one.start()
    run_id = await world.submit(models=("sim/flaky-30",), runs=30, concurrency=30)
    assert (await ended(run_id, 30))["state"] == "completed"
    attempts = await list_attempts(world.pool, run_id, 0, 99)
    samples = {row["key"]: row for row in await list_samples(world.pool, run_id)}
    assert len(samples) == 30
    assert len(attempts) > 30  # all 30 at once without a failure: 2 in 100,000
    assert len(attempts) == sum(row["attempts"] for row in samples.values())
    assert len(attempts) == len(await simulator.ledger(run_id))
    for attempt in attempts:
        last = attempt["attempt"] == samples[attempt["key"]]["attempts"]
        assert (attempt["error_code"] is None) == last
        assert (attempt["waited_ms"] > 0) or attempt["attempt"] == 1
        if last:
            sample = samples[attempt["key"]]
            assert attempt["total_ms"] == pytest.approx(sample["total_ms"])
            assert attempt["response_id"] == sample["response_id"]
    await world.check(run_id)


async def test_cancel_in_mid_stream_closes_the_connection_and_keeps_what_is_done(
    world, process, simulator, ended, until, local
):
    one = await process(heartbeat_s=30.0)  # the message alone must do
    one.start()
    run_id = await world.submit(models=(FAST, "sim/never-ends"), runs=2)

    async def streaming():
        ledger = await simulator.ledger(run_id)
        stored = (await world.run(run_id))["done"] == 2
        return stored and any(r["model"] == "never-ends" and r["tokens"] > 3 for r in ledger)

    await until(streaming)
    before = time.perf_counter()
    await cancel(world.pool, world.bell, run_id, local)
    run = await ended(run_id)
    assert time.perf_counter() - before < 1
    assert (run["state"], run["done"]) == ("cancelled", 2)
    assert json.loads(run["summary"])["rows"][0]["ok"] == 2

    async def closed():
        ledger = await simulator.ledger(run_id)
        return [r["outcome"] for r in ledger if r["model"] == "never-ends"] == ["disconnected"]

    await until(closed)
    await world.check(run_id)
    assert not one.hands.busy


async def test_a_cancel_that_was_not_published_is_heard_by_the_heartbeat(
    world, process, ended, until
):
    one = await process()
    one.start()
    run_id = await world.submit(models=("sim/never-ends",), runs=1)
    await until(lambda: one.hands.busy)
    text = "update runs set cancel_requested_at = now() where id = $1"
    await world.pool.execute(text, run_id)
    assert (await ended(run_id, 3))["state"] == "cancelled"


async def test_a_run_cancelled_before_its_claim_calls_nobody(world, process, simulator):
    one = await process()
    run_id = await world.submit(models=(FAST,))
    text = "update runs set cancel_requested_at = now() where id = $1"
    await world.pool.execute(text, run_id)
    await execute_slice(one.body, (await world.slice(run_id))["id"])
    assert (await world.run(run_id))["state"] == "cancelled"
    assert await simulator.ledger(run_id) == []


async def test_a_lease_lost_in_mid_run_stops_without_writing(
    world, process, simulator, until, ended
):
    one, other = await process("w1"), await process("w2")
    run_id = await world.submit(models=("sim/ttft-30-itl-2-n-20",), runs=12)
    slice_id = (await world.slice(run_id))["id"]
    task = asyncio.create_task(execute_slice(one.body, slice_id))
    keeper = asyncio.create_task(one.hands.keep())

    async def begun():
        return (await world.run(run_id))["done"] >= 2

    await until(begun)
    await world.lapse(run_id)
    assert len(await expire_leases(world.pool)) == 1
    stored = (await world.run(run_id))["done"]
    await asyncio.wait_for(task, 3)
    assert (await world.run(run_id))["done"] == stored
    assert (await world.slice(run_id))["state"] == "queued"
    keeper.cancel()
    await execute_slice(other.body, slice_id)
    run = await ended(run_id)
    assert (run["state"], run["done"]) == ("completed", 12)
    await world.check(run_id)
    assert len(await simulator.ledger(run_id)) <= 12 + 3


async def test_a_lost_lease_closes_the_connection_of_a_silent_call(
    world, process, simulator, until
):
    one = await process()
    one.start()
    run_id = await world.submit(models=("sim/ttft-30000",), runs=1)
    await until(lambda: one.hands.busy)
    await until(lambda: simulator.ledger(run_id))
    await world.redis.flushall()
    await world.lapse(run_id)
    assert len(await expire_leases(world.pool)) == 1
    await until(lambda: not one.hands.busy, 2)

    async def closed():
        return [r["outcome"] for r in await simulator.ledger(run_id)] == ["disconnected"]

    await until(closed, 2)
    assert (await world.slice(run_id))["state"] == "queued"
