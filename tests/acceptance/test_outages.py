"""Postgres dies, workers freeze, everything is killed at once; runs complete, samples count once.

Leases are short here, so that an outage is soon longer than one.
"""

import asyncio
import os
import shutil
import signal
import tempfile
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import asyncpg
import pytest

from db.embedded.stores import open_stores
from db.migrate import migrate
from db.pool import open_pool
from tests.acceptance.test_faults import assert_counted_once, holder, reached
from tests.stack import open_stack, until

LEASE = {"lease_s": 5, "heartbeat_s": 3}  # the scheduler looks long before a worker renews
OUTAGE_S = 7.0
SHEET = {"models": ["sim/ttft-100-itl-1-n-10"], "max_tokens": 10, "warmup": False}
QUICK = {"models": ["sim/fast"], "runs": 1, "max_tokens": 2}
PROCESSES = ("api", "scheduler", "worker-1", "worker-2")


class Postgres:
    """A server of the test's own, which it may kill and keep away."""

    def __init__(self, data):
        self.data = data

    async def start(self):
        self.life = AsyncExitStack()
        stores = await self.life.enter_async_context(open_stores(self.data, valkey=False))
        self.url = stores.database_url

    async def stop(self):
        await self.life.aclose()

    async def kill(self):
        """Kill -9 it; returns when it was started again."""
        pid = self._pid()
        os.kill(pid, signal.SIGKILL)

        async def back():
            return self._pid() not in (pid, None)

        await until(back)

    def _pid(self):
        try:
            return int((self.data / "postgres/data/postmaster.pid").read_text().split()[0])
        except (FileNotFoundError, IndexError):
            return None


@pytest.fixture
async def postgres():
    server = Postgres(Path(tempfile.mkdtemp(prefix="assay-", dir="/tmp")))
    await server.start()
    pool = await open_pool(server.url, 1)
    await migrate(pool)
    await pool.close()
    yield server
    await server.stop()
    shutil.rmtree(server.data, ignore_errors=True)


@pytest.fixture
async def service(database_url, redis, stores):
    async with open_stack(database_url, stores.redis_url, workers=2, **LEASE) as opened:
        yield opened


async def follow(client, run_id):
    """Follow a run to its end as a browser does; gives the numbers of the events seen."""
    seen = []
    while True:
        try:
            async with client.events(run_id, seen[-1] if seen else None) as (_, events):
                async for event in events:
                    if "id" in event:
                        seen.append(int(event["id"]))
                        if event["event"] in ("complete", "cancelled", "error"):
                            return seen
        except (aiohttp.ClientError, OSError):
            pass
        await asyncio.sleep(0.1)


@asynccontextmanager
async def asking(client, run_id):
    """Read and submit all the time; gives (status, Retry-After) of every answer so far."""
    answers = []

    async def ask(method, path, **options):
        url = client.stack.url + path
        async with client.session.request(method, url, **options) as response:
            await response.read()
            answers.append((response.status, response.headers.get("Retry-After")))

    async def keep_asking():
        while True:
            await ask("GET", f"/api/runs/{run_id}")
            await ask("GET", "/api/runs")
            await ask("POST", "/api/runs", json={"kind": "benchmark", **QUICK})
            await asyncio.sleep(0.05)

    asker = asyncio.create_task(keep_asking())
    try:
        yield answers
    finally:
        assert not asker.done(), asker
        asker.cancel()


async def claims(database_url, run_id):
    """Count how often a worker took up the run; each claim is an epoch."""
    connection = await asyncpg.connect(database_url)
    try:
        return await connection.fetchval("select epoch from slices where run_id = $1", run_id)
    finally:
        await connection.close()


async def all_over(client):
    runs = (await client.call("GET", "/api/runs?limit=1000"))[1]
    return all(run["finished_at"] for run in runs) and runs


@pytest.mark.timeout(120)
async def test_postgres_killed_twice_and_away_longer_than_a_lease_costs_only_time(
    postgres, redis, stores
):
    """Clients are told to come back, streams go on, no worker is taken for dead."""
    async with open_stack(postgres.url, stores.redis_url, workers=2, **LEASE) as (stack, client):
        run_id = await client.submit(**SHEET, runs=100)
        readers = [asyncio.create_task(follow(client, run_id)) for _ in range(3)]
        await until(lambda: reached(client, run_id, 3))
        async with asking(client, run_id) as answers:
            for _ in range(2):
                await postgres.kill()
                before = len(answers)
                await until(lambda before=before: served_since(answers, before))
            await postgres.stop()
            await asyncio.sleep(OUTAGE_S)  # the outage itself
            await postgres.start()
            before = len(answers)
            await until(lambda: served_since(answers, before))
        assert set(answers) == {(200, None), (503, "2")}
        await client.finished(run_id)
        calls, _ = await assert_counted_once(client, run_id, 100)
        assert calls == 100  # what was in flight was kept and written later
        async with asyncio.timeout(10):
            logs = await asyncio.gather(*readers)
        assert all(log == list(range(1, len(logs[0]) + 1)) for log in logs)
        runs = await until(lambda: all_over(client))
        assert {run["status"] for run in runs} == {"completed"}
        assert await claims(postgres.url, run_id) == 1
        assert all(process.returncode is None for process in stack.processes.values())


async def served_since(answers, before):
    return (200, None) in answers[before:]


@pytest.mark.timeout(90)
async def test_a_frozen_worker_that_thaws_adds_nothing_and_works_on(service):
    stack, client = service
    run_id = await client.submit(**SHEET, runs=60, concurrency=2)
    await until(lambda: reached(client, run_id, 5))
    frozen = await holder(stack)
    stack.processes[frozen].send_signal(signal.SIGSTOP)
    done = (await client.run(run_id))["progress"]["done"]
    await until(lambda: reached(client, run_id, done + 5))  # another has taken over
    heir = await holder(stack)
    stack.processes[frozen].send_signal(signal.SIGCONT)
    assert heir != frozen
    await until(lambda: logged(stack, frozen, "lost"))
    await client.finished(run_id)
    calls, _ = await assert_counted_once(client, run_id, 60)
    assert calls <= 60 + 2 * 2  # what it had in flight, and began before it heard
    await stack.stop(heir, signal.SIGKILL)
    later = await client.submit(**SHEET, runs=2)
    assert (await client.finished(later, within_s=20))["status"] == "completed"


async def logged(stack, name, words):
    return words in stack.log(name)


@pytest.mark.timeout(90)
async def test_everything_may_be_stopped_in_mid_run_and_started_again(service):
    """SIGTERM: exit 0, no call is wasted, and what was answered with an id is executed."""
    stack, client = service
    run_id = await client.submit(**SHEET, runs=60, concurrency=2)
    reader = asyncio.create_task(follow(client, run_id))
    await until(lambda: reached(client, run_id, 5))
    posts = [asyncio.create_task(post(client)) for _ in range(40)]
    await asyncio.wait(posts, return_when=asyncio.FIRST_COMPLETED)
    codes = await asyncio.gather(*(stack.stop(name) for name in PROCESSES))
    assert codes == [0, 0, 0, 0]
    accepted = [answer for answer in await asyncio.gather(*posts) if answer]
    await start_all(stack)
    for each in (run_id, *accepted):
        assert (await client.finished(each))["status"] == "completed"
    calls, _ = await assert_counted_once(client, run_id, 60)
    assert calls == 60
    log = await asyncio.wait_for(reader, 10)
    assert log == list(range(1, len(log) + 1))


async def post(client):
    """Submit a run; its id, None when the service hung up."""
    try:
        return await client.submit(**QUICK)
    except (aiohttp.ClientError, OSError):
        return None


@pytest.mark.timeout(90)
async def test_everything_may_be_killed_at_once_in_mid_run(service):
    stack, client = service
    run_id = await client.submit(**SHEET, runs=60, concurrency=2)
    reader = asyncio.create_task(follow(client, run_id))
    await until(lambda: reached(client, run_id, 5))
    await asyncio.gather(*(stack.stop(name, signal.SIGKILL) for name in PROCESSES))
    await start_all(stack)
    assert (await client.finished(run_id))["status"] == "completed"
    calls, _ = await assert_counted_once(client, run_id, 60)
    assert calls <= 60 + 2  # what was in flight
    log = await asyncio.wait_for(reader, 10)
    assert log == list(range(1, len(log) + 1))


async def start_all(stack):
    for name in PROCESSES:
        await stack.start(name)
    await stack.ready()
