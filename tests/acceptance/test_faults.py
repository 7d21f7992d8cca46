"""Workers are killed and Redis is lost; runs complete, and every sample is counted once."""

import asyncio
import random
import shutil
import signal
import tempfile
import time
from pathlib import Path

import asyncpg
import pytest

from db.embedded.stores import open_stores
from db.queue import close_redis, open_redis
from tests.stack import open_stack, until

KILLS = 10
SEED = 20_261_120


async def assert_counted_once(client, run_id, planned):
    """Hold the run against the plan, its event log and what the provider truly sent."""
    run = await client.run(run_id)
    assert (run["status"], run["progress"]["done"]) == ("completed", planned)
    samples, attempts = await client.samples(run_id)
    assert [sample["key"] for sample in samples] == list(range(planned))
    ledger = {entry["id"]: entry for entry in await client.ledger(run_id)}
    counted = {sample["response_id"] for sample in samples}
    assert len(counted) == planned
    assert counted <= ledger.keys()
    assert all(ledger[each]["outcome"] == "complete" for each in counted)
    async with client.events(run_id) as (_, events):
        log = [event async for event in events if "id" in event]
    assert [int(event["id"]) for event in log] == list(range(1, len(log) + 1))
    assert sum(event["event"] == "result" for event in log) == planned
    return len(ledger), attempts


@pytest.mark.timeout(400)
async def test_ten_kills_of_a_worker_lose_no_sample_and_count_none_twice(service):
    stack, client = service
    chance = random.Random(SEED)
    sheet = {"models": ["sim/ttft-100-itl-2-n-50"], "runs": 100, "context_tiers": [0, 100]}
    run_id = await client.submit(**sheet, max_tokens=50, concurrency=2, warmup=False)
    recoveries = []
    for _ in range(KILLS):
        done = (await client.run(run_id))["progress"]["done"]
        goal = min(done + chance.randint(2, 12), 198)
        await until(lambda goal=goal: reached(client, run_id, goal))
        recoveries.append(await kill_the_holder(stack, client, run_id))
    await client.finished(run_id, within_s=120)
    calls, _ = await assert_counted_once(client, run_id, 200)
    assert calls <= 200 + KILLS * 2  # at most what was in flight at each kill
    assert max(recoveries) <= 45
    spread = sorted(recoveries)
    print(f"\nrecovery after kill -9, n={KILLS}: median {spread[KILLS // 2]:.1f} s, "
          f"worst {spread[-1]:.1f} s; provider calls {calls} for 200 samples")  # fmt: skip


async def kill_the_holder(stack, client, run_id):
    """Kill -9 the worker that makes the calls; how long until a sample is finished again."""
    name = await holder(stack)
    await stack.stop(name, signal.SIGKILL)
    done = (await client.run(run_id))["progress"]["done"]
    began = time.monotonic()
    await stack.start(name)
    await until(lambda: reached(client, run_id, done + 1), within_s=60)
    return time.monotonic() - began


async def holder(stack):
    """Find the worker that holds the slice, by the pid in its lease."""
    connection = await asyncpg.connect(stack.environ["DATABASE_URL"])
    try:
        owner = await until(
            lambda: connection.fetchval("select owner from slices where state = 'running'")
        )
    finally:
        await connection.close()
    pid = int(owner.rsplit(":", 1)[1])
    return next(name for name, process in stack.processes.items() if process.pid == pid)


async def reached(client, run_id, done):
    run = await client.run(run_id)
    return run["progress"]["done"] >= done or run["finished_at"]


async def test_a_rolling_restart_of_workers_repeats_no_finished_sample(service):
    stack, client = service
    run_id = await client.submit(
        models=["sim/ttft-80-itl-1-n-20"], runs=60, max_tokens=20, warmup=False
    )
    for goal in (5, 15, 25, 35):
        await until(lambda goal=goal: reached(client, run_id, goal))
        name = await holder(stack)
        began = time.monotonic()
        assert await stack.stop(name) == 0
        assert time.monotonic() - began < 25
        await stack.start(name)
    await client.finished(run_id)
    calls, _ = await assert_counted_once(client, run_id, 60)
    assert calls == 60


@pytest.mark.timeout(200)
async def test_redis_lost_with_its_data_and_stopped_for_ten_seconds_costs_only_time(
    database_url, tmp_path_factory
):
    """FLUSHALL in mid-run, then kill Redis for 10 s: runs complete and the API keeps accepting."""
    data = Path(tempfile.mkdtemp(prefix="assay-", dir="/tmp"))
    valkey = open_stores(data, postgres=False)
    opened = await valkey.__aenter__()
    async with open_stack(database_url, opened.redis_url, workers=2) as (_, client):
        long = await client.submit(
            models=["sim/ttft-150-itl-1-n-10"], runs=100, max_tokens=10, warmup=False
        )
        await until(lambda: reached(client, long, 3))
        await flush(opened.redis_url)
        flushed = await client.submit(models=["sim/fast"], runs=3, max_tokens=4)
        await client.finished(flushed)
        await until(lambda: reached(client, long, 10))
        await valkey.__aexit__(None, None, None)
        accepted = [long, *await submit_for(client, 10.0)]
        valkey = open_stores(data, postgres=False)
        await valkey.__aenter__()
        try:
            for run_id in accepted:
                assert (await client.finished(run_id, within_s=60))["status"] == "completed"
            await assert_counted_once(client, long, 100)
            assert (await client.call("GET", "/readyz"))[1]["status"] == "ok"
        finally:
            await valkey.__aexit__(None, None, None)
    shutil.rmtree(data, ignore_errors=True)


async def submit_for(client, seconds):
    """Keep submitting by both routes while Redis is away; every answer must be 2xx, and quick."""
    ids, ends = [], time.monotonic() + seconds
    while time.monotonic() < ends:
        began = time.monotonic()
        sheet = {"models": ["sim/fast"], "runs": 1, "max_tokens": 2}
        ids.append(await client.submit(**sheet))
        status, body = await client.call("POST", "/api/benchmark?stream=false", json=sheet)
        assert status == 202
        ids.append(body["run_id"])
        assert (await client.call("GET", "/healthz"))[0] == 200
        assert (await client.call("GET", "/readyz"))[1]["status"] == "degraded"
        assert time.monotonic() - began < 3
        await asyncio.sleep(0.5)
    return ids


async def flush(redis_url):
    client = open_redis(redis_url)
    await client.flushall()
    await close_redis(client)


async def test_a_stream_goes_on_from_the_table_when_events_are_not_published(service):
    """Pub/sub connections are cut again and again; the stream stays gapless."""
    stack, client = service
    run_id = await client.submit(
        models=["sim/ttft-40-itl-1-n-4"], runs=60, max_tokens=4, warmup=False
    )
    redis = open_redis(stack.environ["REDIS_URL"])
    async with client.events(run_id) as (_, events):
        seen = []
        async for event in events:
            if "id" in event:
                seen.append(int(event["id"]))
                if len(seen) % 20 == 0:
                    await redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    await close_redis(redis)
    assert seen == list(range(1, 2 + 2 * 60 + 2))
