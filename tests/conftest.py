"""Real stores for every test that wants them: one cluster per session, one database per test."""

import shutil
import tempfile
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from db.embedded.stores import open_stores
from db.migrate import migrate
from db.pool import open_pool
from db.queue import close_redis, open_redis
from db.settings import Settings

TEMPLATE = "assay_template"


@pytest.fixture(scope="session")
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="session")
async def stores():
    """Start PostgreSQL and Valkey without durability, with one migrated template database."""
    data = Path(tempfile.mkdtemp(prefix="assay-", dir="/tmp"))
    async with open_stores(data, durable=False) as opened:
        admin = await asyncpg.connect(opened.database_url)
        await admin.execute(f"create database {TEMPLATE}")
        pool = await open_pool(_named(opened.database_url, TEMPLATE), 1)
        await migrate(pool)
        await pool.close()
        await admin.close()
        yield opened
    shutil.rmtree(data, ignore_errors=True)


@pytest.fixture
async def database_url(stores):
    """Make a fresh, migrated database."""
    name = f"test_{uuid4().hex[:12]}"
    admin = await asyncpg.connect(stores.database_url)
    await admin.execute(f"create database {name} template {TEMPLATE} strategy file_copy")
    yield _named(stores.database_url, name)
    await admin.execute(f"drop database {name} with (force)")
    await admin.close()


@pytest.fixture(scope="module")
async def shared(stores):
    """Make a migrated database that the tests of a module share; gives its URL and a pool."""
    name = f"shared_{uuid4().hex[:12]}"
    admin = await asyncpg.connect(stores.database_url)
    await admin.execute(f"create database {name} template {TEMPLATE} strategy file_copy")
    pool = await open_pool(_named(stores.database_url, name), 2)
    yield _named(stores.database_url, name), pool
    await pool.close()
    await admin.execute(f"drop database {name} with (force)")
    await admin.close()


@pytest.fixture
async def redis(stores):
    client = open_redis(stores.redis_url)
    await client.flushall()
    yield client
    await close_redis(client)


@pytest.fixture
async def pool(database_url):
    opened = await open_pool(database_url, 8)
    yield opened
    await opened.close()


@pytest.fixture
def settings(stores, database_url):
    return Settings(database_url=database_url, redis_url=stores.redis_url, auth="open")


def _named(url, database):
    return url.replace("/assay?", f"/{database}?")
