"""The API served in the test's process, on real stores; runs are written by hand, no worker runs."""

import asyncio
from contextlib import asynccontextmanager
from uuid import UUID

import aiohttp
import msgspec
import pytest

from api.__main__ import make_server
from api.auth import LOCAL_USER
from db.bus import Told, channel, publish
from db.domain.catalog import find_target
from db.domain.specs import BenchmarkSpec
from db.queue import Doorbell
from db.submit import NewRun, submit
from tests.stack import free_port, read_events, until


class Served:
    """A server, and a client of it."""

    def __init__(self, server, url, session):
        self.server, self.url, self.session = server, url, session

    @property
    def hub(self):
        return self.server.config.app.state.floor.hub

    async def call(self, method, path, **options):
        """Answer status, headers and body."""
        async with self.session.request(method, self.url + path, **options) as response:
            return response.status, response.headers, await response.read()

    @asynccontextmanager
    async def follow(self, run_id, after=None):
        headers = {} if after is None else {"Last-Event-ID": str(after)}
        async with self.session.get(
            f"{self.url}/api/runs/{run_id}/events", headers=headers
        ) as answer:
            assert answer.status == 200
            yield read_events(answer.content)

    async def streams(self):
        _, _, body = await self.call("GET", "/metrics")
        lines = dict(line.rsplit(" ", 1) for line in body.decode().splitlines() if line[0] != "#")
        return int(float(lines["assay_sse_connections"]))

    async def streams_become(self, count, within_s=5.0):
        async def become():
            return await self.streams() == count

        await until(become, within_s)


@asynccontextmanager
async def serving(settings):
    """Serve until the block ends."""
    server = make_server(msgspec.structs.replace(settings, port=free_port()))
    task = asyncio.create_task(server.serve())

    async def started():
        return server.started or task.done()

    await until(started)
    url = f"http://127.0.0.1:{server.config.port}"
    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        yield Served(server, url, session)
    server.handle_exit(15, None)
    server._captured_signals.clear()
    await asyncio.wait_for(task, 5)


@pytest.fixture
async def served(settings, redis):
    async with serving(settings) as one:
        yield one


@pytest.fixture
def serve(redis):
    return serving


class Log:
    """One run's event log, written as a worker writes it: committed, then published."""

    def __init__(self, pool, redis, run_id):
        self.pool, self.redis, self.run_id = pool, redis, run_id

    async def commit(self, *events):
        """Append events, each a type and a JSON object as bytes."""
        async with self.pool.acquire() as connection, connection.transaction():
            last = await connection.fetchval(
                "update runs set last_seq = last_seq + $2 where id = $1 returning last_seq",
                self.run_id, len(events),
            )  # fmt: skip
            first = last - len(events) + 1
            told = tuple(Told(first + n, kind, data) for n, (kind, data) in enumerate(events))
            rows = [(self.run_id, one.seq, one.type, one.data) for one in told]
            statement = "insert into run_events (run_id, seq, type, data) values ($1, $2, $3, $4)"
            await connection.executemany(statement, rows)
        return told

    async def publish(self, told):
        assert await publish(self.redis, self.run_id, told)

    async def tell(self, *events):
        told = await self.commit(*events)
        await self.publish(told)
        return told

    async def end(self):
        data = msgspec.json.encode({"run_id": self.run_id})
        return await self.tell(("complete", data))

    async def listeners(self):
        [(_, count)] = await self.redis.pubsub_numsub(channel(self.run_id))
        return count

    async def heard_by(self, count, within_s=5.0):
        async def heard():
            return await self.listeners() == count

        await until(heard, within_s)


@pytest.fixture
def make_log(pool, redis):
    """Submit runs that nobody executes."""

    async def make(visibility="unlisted", redis=redis):
        spec = BenchmarkSpec(targets=(find_target("sim/fast"),), runs=1)
        new = NewRun(UUID(str(LOCAL_USER)), spec, 1, visibility)
        run_id = await submit(pool, Doorbell(redis), new, user_cap=8)
        return Log(pool, redis, run_id)

    return make
