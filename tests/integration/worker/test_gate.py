"""Permits, rates and pauses, shared by workers on real Valkey."""

import asyncio
import contextlib
import json
import time
from itertools import pairwise

import msgspec
import pytest

from db.limits import SharedLimits
from db.queue import close_redis, open_redis
from worker.gate import Gate

FAST = "sim/ttft-5-itl-1-n-8"


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
