"""One API in open mode and one that requires users, both on one database."""

import aiohttp
import asyncpg
import pytest

from db.migrate import migrate
from db.pool import open_pool
from tests.stack import Client, Stack, until


@pytest.fixture(scope="module")
async def floor(stores):
    """Make a database that the tests of a module share."""
    admin = await asyncpg.connect(stores.database_url)
    await admin.execute("drop database if exists surface with (force)")
    await admin.execute("create database surface")
    url = stores.database_url.replace("/assay?", "/surface?")
    pool = await open_pool(url, 2)
    await migrate(pool)
    yield url, pool
    await pool.close()
    await admin.execute("drop database surface with (force)")
    await admin.close()


async def serve(floor, stores, auth):
    stack = Stack(floor[0], stores.redis_url, auth=auth)
    await stack.start("api")
    try:
        await until(lambda: stack._answers(f"{stack.url}/readyz"))
        timeout = aiohttp.ClientTimeout(total=20)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            yield Client(stack, session)
    finally:
        await stack.stop("api", 9)


@pytest.fixture(scope="module")
async def opened(floor, stores):
    async for client in serve(floor, stores, "open"):
        yield client


@pytest.fixture(scope="module")
async def required(floor, stores):
    async for client in serve(floor, stores, "required"):
        yield client
