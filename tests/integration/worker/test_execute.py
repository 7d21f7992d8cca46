"""The path of a slice with a real provider process, real stores and every way to end."""

import asyncio
import contextlib
import json
import time
from itertools import pairwise

import msgspec
import pytest

from db.bus import PREFIX, decode_batch
from db.domain.events import TERMINAL
from db.domain.samples import Sample
from db.domain.timing import Stamps
from db.limits import SharedLimits
from db.queue import close_redis, next_message, open_redis
from db.samples import list_attempts, list_samples
from db.settle import settle_run
from db.slices import expire_leases
from db.submit import cancel
from worker import progress as progress_module
from worker.call import Caller, Endpoint
from worker.egress import open_session
from worker.execute import execute_slice
from worker.gate import Gate
from worker.progress import Progress
from worker.providers.table import WIRES
from worker.providers.wire import ChatRequest, Message

FAST = "sim/ttft-5-itl-1-n-8"


@pytest.fixture
def ended(world, until):
    """Wait for a run's end."""

    async def wait(run_id, within=15):
        async def over():
            run = await world.run(run_id)
            return run if run["finished_at"] else None

        return await until(over, within)

    return wait


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
    one = await process(retries=6)
    one.start()
    run_id = await world.submit(models=("sim/flaky-50",), runs=12, concurrency=12)
    assert (await ended(run_id, 30))["state"] == "completed"
    attempts = await list_attempts(world.pool, run_id, 0, 99)
    samples = {row["key"]: row for row in await list_samples(world.pool, run_id)}
    assert len(samples) == 12
    assert len(attempts) > 12
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


async def enter_all(gate, count, body, provider="sim"):
    async def one():
        async with gate.enter(provider) as waited:
            await body(waited)

    await asyncio.gather(*(one() for _ in range(count)))


class Meter:
    def __init__(self, hold_s=0.02):
        self.hold_s, self.now, self.peak, self.starts = hold_s, 0, 0, []

    async def __call__(self, waited):
        self.now += 1
        self.peak = max(self.peak, self.now)
        self.starts.append(time.perf_counter())
        await asyncio.sleep(self.hold_s)
        self.now -= 1


@pytest.fixture
async def gate_of(stores, settings):
    """Make gates as separate worker processes have them."""
    async with contextlib.AsyncExitStack() as stack:

        def make(owner, url=None, **changed):
            client = open_redis(url or stores.redis_url)
            stack.push_async_callback(close_redis, client)
            mine = msgspec.structs.replace(settings, **changed)
            return Gate(SharedLimits(client), mine, owner)

        yield make


async def test_two_workers_share_one_limit(process, own_simulator, world, ended):
    allowed = own_simulator.url
    both = [await process(f"w{n}", provider_concurrency=6, sim_url=allowed) for n in (1, 2)]
    for one in both:
        one.start()
    runs = [
        await world.submit(models=("sim/ttft-20-n-2",), runs=30, concurrency=20) for _ in range(2)
    ]
    for run_id in runs:
        assert (await ended(run_id))["done"] == 30
    assert (await own_simulator.get("/stats"))["max_concurrent"] == 6


@pytest.mark.parametrize("limit", [1, 3, 6])
async def test_gates_never_let_more_in_than_the_limit(redis, gate_of, limit):
    meter = Meter()
    gates = [gate_of(f"w{n}", provider_concurrency=limit) for n in range(2)]
    keepers = [asyncio.create_task(gate.keep()) for gate in gates]
    async with asyncio.timeout(10):
        await enter_all(gates[0], 20, meter)
        await gates[0].give_back()
        await enter_all(gates[1], 20, meter)
    assert meter.peak == limit
    for keeper in keepers:
        keeper.cancel()


async def test_one_worker_does_not_hoard_what_another_needs(redis, gate_of):
    meter = Meter(0.3)
    gates = [gate_of(f"w{n}", provider_concurrency=16) for n in range(2)]
    async with asyncio.timeout(3):
        await asyncio.gather(enter_all(gates[0], 8, meter), enter_all(gates[1], 8, meter))
    assert meter.peak == 16


async def test_without_redis_a_gate_keeps_the_limit_alone(gate_of):
    meter = Meter()
    gate = gate_of("w1", "unix:///tmp/assay-no-such-socket", provider_concurrency=5)
    async with asyncio.timeout(5):
        await enter_all(gate, 40, meter)
    assert meter.peak == 5


async def test_keeping_permits_survives_a_provider_that_comes_meanwhile(
    redis, gate_of, monkeypatch
):
    monkeypatch.setattr("worker.gate.TTL_MS", 30)
    gate, meter = gate_of("w1"), Meter(0.05)
    keeper = asyncio.create_task(gate.keep())
    for n in range(10):
        await asyncio.gather(*(enter_all(gate, 1, meter, f"p{n}-{m}") for m in range(5)))
    assert not keeper.done()
    keeper.cancel()


async def test_permits_are_given_back(redis, gate_of):
    gate = gate_of("w1")
    await enter_all(gate, 5, Meter(0))
    assert await redis.zcard("assay:permits:sim") > 0
    await gate.give_back()
    assert await redis.zcard("assay:permits:sim") == 0


async def test_a_rate_spaces_calls_over_all_workers(redis, gate_of):
    meter = Meter(0)
    gates = [gate_of(f"w{n}", provider_rps=50.0) for n in range(2)]
    await asyncio.gather(*(enter_all(gate, 8, meter) for gate in gates))
    starts = sorted(meter.starts)
    assert 0.28 < starts[-1] - starts[0] < 0.8
    gaps = [b - a for a, b in pairwise(starts)]
    assert sorted(gaps)[len(gaps) // 2] == pytest.approx(0.02, abs=0.006)


async def test_a_long_booked_rate_is_not_forgotten(redis, gate_of):
    limits = SharedLimits(redis)
    for _ in range(4):
        await limits.wait_s("sim", 0.02)
    assert await redis.pttl("assay:rate:sim") > 190_000


async def test_retry_after_pauses_every_worker(redis, process, until):
    one, other = await process("w1"), await process("w2")
    other.start()
    await asyncio.sleep(0.2)
    await one.gate.pause_everywhere("sim", 0.6)
    await until(lambda: other.gate._pause_left("sim") > 0, 1)
    meter, before = Meter(0), time.perf_counter()
    await asyncio.gather(enter_all(one.gate, 3, meter), enter_all(other.gate, 3, meter))
    assert 0.5 < min(meter.starts) - before < 1.5
    before = time.perf_counter()
    await enter_all(other.gate, 1, meter, "openai")
    assert time.perf_counter() - before < 0.3, "another provider is not paused"


async def test_a_limited_provider_is_obeyed_by_all(world, process, simulator, ended, until):
    one, other = await process("w1", retries=2), await process("w2")
    one.start()
    hearing = asyncio.create_task(other.worker._hear())
    await asyncio.sleep(0.2)
    run_id = await world.submit(models=("sim/status-429",), runs=1)
    await until(lambda: other.gate._pause_left("sim") > 0)
    hearing.cancel()
    run = await ended(run_id)
    assert run["state"] == "failed"
    assert json.loads(run["error"])["code"] == "PROVIDER_RATE_LIMITED"
    received = [record["received"] for record in await simulator.ledger(run_id)]
    assert len(received) == 3
    assert all(b - a >= 1.0 for a, b in pairwise(received))


def request(model):
    return ChatRequest(model=model, messages=(Message("user", "hello"),), max_tokens=64)


@pytest.mark.parametrize(
    "base", ["http://10.255.255.1:81", "http://127.0.0.1:6379", "http://[fec0::1]"]
)
async def test_a_forbidden_address_is_told_as_such(settings, base):
    async with open_session(settings) as session:
        endpoint = Endpoint("sim", base, WIRES["openai"])
        reply = await Caller(session, settings).call(endpoint, request("fast"), "id")
    assert reply.error.code == "EGRESS_DENIED"


@pytest.mark.parametrize(
    ("model", "code", "status"),
    [
        ("status-500", "PROVIDER_REFUSED", 500),
        ("status-401", "PROVIDER_REFUSED", 401),
        ("status-429", "PROVIDER_RATE_LIMITED", 429),
        ("redirect", "PROVIDER_REDIRECT", 302),
        ("cut", "PROVIDER_UNREACHABLE", 200),
        ("rst", "PROVIDER_UNREACHABLE", 200),
        ("half-open", "PROVIDER_TIMEOUT", 200),
        ("never-ends", "PROVIDER_TIMEOUT", 200),
        ("error-mid", "PROVIDER_REFUSED", 200),
        ("big", "PROVIDER_RESPONSE_TOO_LARGE", 200),
    ],
)
async def test_whatever_a_provider_does_ends_in_the_reply(settings, model, code, status):
    mine = msgspec.structs.replace(
        settings, idle_timeout_s=0.3, ttft_timeout_s=0.5, total_timeout_s=1.0,
        answer_limit_bytes=200_000,
    )  # fmt: skip
    async with open_session(mine) as session:
        endpoint = Endpoint("sim", mine.sim_url + "/v1", WIRES["openai"])
        before = time.perf_counter()
        reply = await Caller(session, mine).call(endpoint, request(model), "id")
    assert (reply.error.code, reply.status) == (code, status)
    assert time.perf_counter() - before < 2
    assert isinstance(reply.stamps, Stamps)


async def test_nobody_listening_is_unreachable(settings):
    mine = msgspec.structs.replace(settings, egress_allow=("127.0.0.1:9",))
    async with open_session(mine) as session:
        endpoint = Endpoint("sim", "http://127.0.0.1:9", WIRES["openai"])
        reply = await Caller(session, mine).call(endpoint, request("fast"), "id")
    assert (reply.error.code, reply.status) == ("PROVIDER_UNREACHABLE", None)
