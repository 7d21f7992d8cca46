"""A floor, a simulated provider and workers inside the test's process."""

import asyncio
import contextlib
import json
import runpy
import subprocess
import sys
from pathlib import Path

import aiohttp
import msgspec
import pytest

from db.limits import SharedLimits
from db.queue import close_redis, open_redis
from worker.ask import Asker
from worker.call import Caller
from worker.consume import LeaseWorker
from worker.egress import open_session
from worker.execute import Body, execute_slice
from worker.gate import Gate
from worker.hands import Hands

ROOT = Path(__file__).parents[3]
FLOOR = runpy.run_path(str(Path(__file__).parents[1] / "db" / "floor.py"))


@pytest.fixture(scope="session")
def anyio_backend():
    return "asyncio", {"use_uvloop": True}


@pytest.fixture
def world(pool, redis):
    return FLOOR["World"](pool, redis)


@pytest.fixture
def local():
    """The user of an open service."""
    return FLOOR["LOCAL"]


@contextlib.contextmanager
def run_simulator(folder):
    command = ["-m", "worker.simulator", "--port", "0", "--port-file", str(folder / "port")]
    process = subprocess.Popen(
        [sys.executable, *command], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    yield process.stdout.readline().removeprefix("listening on ").strip()
    process.terminate()
    process.communicate(timeout=5)


@pytest.fixture(scope="session")
def sim_url(tmp_path_factory):
    """The address of a simulator process."""
    with run_simulator(tmp_path_factory.mktemp("simulator")) as url:
        yield url


class Simulator:
    def __init__(self, url, session):
        self.url, self.session = url, session

    async def get(self, path):
        async with self.session.get(self.url + path) as response:
            return json.loads(await response.read())

    async def ledger(self, run_id):
        return await self.get(f"/ledger?client_request_id={run_id}")


@pytest.fixture
async def simulator(sim_url):
    async with aiohttp.ClientSession() as session:
        yield Simulator(sim_url, session)


@pytest.fixture
async def own_simulator(tmp_path):
    """A simulator whose statistics are this test's own."""
    with run_simulator(tmp_path) as url:
        async with aiohttp.ClientSession() as session:
            yield Simulator(url, session)


@pytest.fixture
def settings(settings, sim_url):
    return msgspec.structs.replace(
        settings, sim_url=sim_url, flush_s=0.01, heartbeat_s=0.2, lease_s=5.0, drain_s=3.0
    )


@pytest.fixture
def until():
    """Poll a condition until it holds, or fail after `within` seconds."""

    async def wait(condition, within=8.0):
        async with asyncio.timeout(within):
            while True:
                found = condition()
                found = await found if asyncio.iscoroutine(found) else found
                if found:
                    return found
                await asyncio.sleep(0.01)

    return wait


class Process:
    """What one worker process consists of."""

    def __init__(self, body, worker, gate):
        self.body, self.worker, self.gate, self.hands = body, worker, gate, body.hands
        self.tasks = []

    def start(self):
        steps = (self.worker.main, self.hands.keep, self.gate.keep)
        self.tasks = [asyncio.create_task(step()) for step in steps]

    async def stop(self):
        for task in self.tasks:
            task.cancel()
        if self.tasks:
            await asyncio.wait(self.tasks)
        self.tasks = []

    async def end(self):
        """Stop, and wait for the jobs too: they use connections that are about to be closed."""
        await self.stop()
        while jobs := list(self.worker.tasks.values()):
            for job in jobs:
                job.cancel()
            await asyncio.wait(jobs)


@pytest.fixture
async def process(stores, pool, settings):
    """Make worker processes, each with a connection to Redis of its own."""
    async with contextlib.AsyncExitStack() as stack:

        async def make(owner="w1", **changed):
            mine = msgspec.structs.replace(settings, **changed)
            redis = open_redis(stores.redis_url)
            stack.push_async_callback(close_redis, redis)
            session = await stack.enter_async_context(open_session(mine))
            hands, gate = Hands(pool, mine, owner), Gate(SharedLimits(redis), mine, owner)
            body = Body(
                hands, FLOOR["World"](pool, redis).bell, Asker(Caller(session, mine), gate, mine)
            )
            worker = LeaseWorker(redis, lambda id_: execute_slice(body, id_), owner, mine.slots)
            worker.listen(hands.cancel_run, gate.pause)
            made = Process(body, worker, gate)
            stack.push_async_callback(made.end)
            return made

        yield make


@pytest.fixture
async def worker_of(stores):
    """Make bare queue workers around a function."""
    async with contextlib.AsyncExitStack() as stack:

        async def make(execute, owner="w1", slots=100, url=None):
            redis = open_redis(url or stores.redis_url)
            stack.push_async_callback(close_redis, redis)
            worker = LeaseWorker(redis, execute, owner, slots)
            task = asyncio.create_task(worker.main())

            async def stop():
                task.cancel()
                await asyncio.wait([task])
                for one in worker.tasks.values():
                    one.cancel()
                if worker.tasks:
                    await asyncio.wait(list(worker.tasks.values()))

            stack.push_async_callback(stop)
            worker.main_loop, worker.stop = task, stop
            return worker

        yield make


@pytest.fixture
def ended(world, until):
    """Wait for a run's end."""

    async def wait(run_id, within=15):
        async def over():
            run = await world.run(run_id)
            return run if run["finished_at"] else None

        return await until(over, within)

    return wait
