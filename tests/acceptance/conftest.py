"""The service as processes, one API, one scheduler, one simulator and two workers."""

import pytest

from tests.stack import open_stack


@pytest.fixture
async def service(database_url, redis, stores):
    """Give the running service and a client of it."""
    async with open_stack(database_url, stores.redis_url, workers=2) as opened:
        yield opened
