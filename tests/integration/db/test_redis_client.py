"""The Redis client lets itself be cancelled, whenever that is."""

import asyncio

import pytest


async def for_ever(redis):
    while True:
        await redis.ping()


@pytest.mark.parametrize("steps", range(16))
async def test_a_cancel_is_never_swallowed_whatever_the_client_is_doing(redis, steps):
    """redis-py sends under asyncio.wait_for, which in Python 3.11 may answer instead of being cancelled."""
    for _ in range(20):
        task = asyncio.create_task(for_ever(redis))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        done, _ = await asyncio.wait({task}, timeout=1)
        task.cancel()
        assert done
