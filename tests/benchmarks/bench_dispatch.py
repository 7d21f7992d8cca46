"""From a client's POST to the executor's first statement, and how many runs one API accepts."""

import asyncio
import time
from itertools import repeat

import aiohttp

from tests.benchmarks.report import fresh_stores, print_facts, print_table, spread
from tests.stack import open_stack

PROBES, BURST, CALLERS, ROUNDS = 200, 2_000, 16, 3
SHEET = {"kind": "benchmark", "models": ["sim/fast"], "runs": 1, "max_tokens": 1, "warmup": False}
# the claim is the executor's first statement; both clocks are the wall clock of one machine
CLAIMED = (
    "select extract(epoch from created_at)::float8 from run_events where run_id = $1 and seq = 2"
)
COMMITTED = CLAIMED.replace("seq = 2", "seq = 1")


async def main():
    print_facts(
        f"dispatch: {PROBES} runs one after another on an idle service, then {BURST} at once"
    )
    async with fresh_stores() as (stores, pool):
        async with open_stack(stores.database_url, stores.redis_url) as (stack, client):
            idle = [await dispatch(pool, client) for _ in range(PROBES)]
        accepted = []
        async with open_stack(stores.database_url, stores.redis_url, workers=0) as (stack, client):
            accepted += [await burst(stack) for _ in range(ROUNDS)]
    posts, commits, answers = (list(column) for column in zip(*idle, strict=True))
    print_table(
        ("path, idle", "ms p50 / p99 / max", "n"),
        [
            ("POST sent -> executor's first statement", spread(posts), PROBES),
            ("run committed -> executor's first statement", spread(commits), PROBES),
            ("POST sent -> 200 received", spread(answers), PROBES),
        ],
    )
    rates = ", ".join(f"{rate:,.0f}" for rate, _ in accepted)
    latencies = [latency for _, batch in accepted for latency in batch]
    print_table(
        ("accepting runs, no worker", f"runs/s, {ROUNDS} rounds", "answer ms p50 / p99 / max", "n"),
        [(f"{CALLERS} callers, one API process", rates, spread(latencies), len(latencies))],
    )


async def dispatch(pool, client):
    began, clock = time.time(), time.perf_counter()
    run_id = await client.submit(**SHEET)
    answered = time.perf_counter() - clock
    await client.finished(run_id)
    committed = await pool.fetchval(COMMITTED, run_id)
    claimed = await pool.fetchval(CLAIMED, run_id)
    return claimed - began, claimed - committed, answered


async def burst(stack):
    latencies, left = [], iter(repeat(None, BURST))
    connector = aiohttp.TCPConnector(limit=CALLERS)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def caller():
            for _ in left:
                began = time.perf_counter()
                async with session.post(f"{stack.url}/api/runs", json=SHEET) as response:
                    assert response.status == 200
                    await response.read()
                latencies.append(time.perf_counter() - began)

        began = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(CALLERS):
                group.create_task(caller())
        return BURST / (time.perf_counter() - began), latencies
