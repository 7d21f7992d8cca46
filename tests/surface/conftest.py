"""One API in open mode and one that requires users, both on one database."""

import aiohttp
import pytest

from tests.stack import Client, Stack, until


async def serve(shared, stores, auth):
    stack = Stack(shared[0], stores.redis_url, auth=auth)
    await stack.start("api")
    try:
        await until(lambda: stack._answers(f"{stack.url}/readyz"))
        timeout = aiohttp.ClientTimeout(total=20)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            yield Client(stack, session)
    finally:
        await stack.stop("api", 9)


@pytest.fixture(scope="module")
async def opened(shared, stores):
    async for client in serve(shared, stores, "open"):
        yield client


@pytest.fixture(scope="module")
async def required(shared, stores):
    async for client in serve(shared, stores, "required"):
        yield client
