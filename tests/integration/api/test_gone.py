"""A run that is gone from the table, and nobody heard of it."""

import asyncio


async def test_the_stream_of_a_run_that_is_gone_ends_though_redis_told_nobody(
    served, make_log, pool
):
    log = await make_log()
    async with served.follow(log.run_id) as events:
        assert (await anext(events))["event"] == "status"
        await pool.execute("delete from runs where id = $1", log.run_id)
        async with asyncio.timeout(8):
            assert [event async for event in events if "id" in event] == []
    await served.streams_become(0)
