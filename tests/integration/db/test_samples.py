"""Batches of samples, attempts and events: written once, by the holder only."""

import asyncio

import asyncpg
import msgspec
import pytest

from db.bus import PREFIX, Told, decode_batch, publish
from db.domain.errors import LeaseLost
from db.domain.samples import Sample
from db.events import list_events
from db.queue import next_message
from db.samples import list_attempts, list_keys, list_measures, list_samples
from db.settle import settle_run
from db.slices import (
    expire_leases,
    finish_slice,
    release_slice,
    renew_leases,
)

REFUSED = (asyncpg.CheckViolationError, asyncpg.UniqueViolationError, asyncpg.NotNullViolationError)


async def test_a_batch_is_stored_counted_and_told(world):
    run_id = await world.submit(runs=5)
    claim = await world.claim(run_id)
    assert await world.record(claim, 1, [0, 1], events=3) == 2
    assert await world.record(claim, 2, [2], ok=False) == 5
    run = await world.run(run_id)
    assert (run["done"], run["failed"], run["last_seq"]) == (3, 1, 6)
    assert await list_keys(world.pool, run_id) == {0, 1, 2}
    await world.check(run_id)


async def test_every_field_of_a_sample_comes_back(world):
    run_id = await world.submit()
    claim = await world.claim(run_id)
    await world.record(claim, 1, [0])
    (row,) = await list_samples(world.pool, run_id)
    assert set(Sample.__struct_fields__) <= set(row)
    assert (row["itl_ms"], row["ttft_ms"], row["cost_usd"]) == ([1.5, 2.5], 12.5, 0.001)
    (measured,) = await list_measures(world.pool, run_id)
    assert (measured.key, measured.ok, measured.itl_ms, measured.ttft_ms) == (
        0, True, [1.5, 2.5], 12.5,
    )  # fmt: skip
    (attempt,) = await list_attempts(world.pool, run_id, 0, 9)
    assert (attempt["key"], attempt["epoch"], attempt["status"]) == (0, 1, 200)


async def test_samples_come_in_pages(world):
    run_id = await world.submit(runs=5)
    await world.record(await world.claim(run_id), 1, range(5))
    assert [row["key"] for row in await list_samples(world.pool, run_id, 1, 2)] == [2, 3]


async def test_a_batch_sent_twice_is_written_once(world):
    run_id = await world.submit()
    claim = await world.claim(run_id)
    assert await world.record(claim, 1, [0]) == 2
    assert await world.record(claim, 1, [0]) is None
    assert await world.record(claim, 2, [1]) == 3
    assert await world.record(claim, 1, [2]) is None
    assert (await world.run(run_id))["done"] == 2
    await world.check(run_id)


async def test_one_batch_sent_at_once_over_many_connections_is_written_once(world):
    run_id = await world.submit()
    claim = await world.claim(run_id)
    found = await asyncio.gather(*(world.record(claim, 1, [0, 1]) for _ in range(8)))
    assert sorted(found, key=str) == [2] + [None] * 7
    await world.check(run_id)


async def test_a_sample_that_is_there_already_is_not_counted_again(world):
    run_id = await world.submit()
    claim = await world.claim(run_id)
    await world.record(claim, 1, [0])
    await world.record(claim, 2, [0, 1], ok=False)
    run = await world.run(run_id)
    assert (run["done"], run["failed"]) == (2, 1)
    await world.check(run_id)


async def test_a_stale_epoch_is_refused_and_writes_nothing(world):
    run_id = await world.submit()
    stale = await world.claim(run_id)
    await world.lapse(run_id)
    await expire_leases(world.pool)
    for fresh in (None, await world.claim(run_id)):
        if fresh:
            await world.record(fresh, 1, [1])
        before = await world.run(run_id), await world.events(run_id)
        with pytest.raises(LeaseLost):
            await world.record(stale, 1, [0])
        assert (await world.run(run_id), await world.events(run_id)) == before
        assert await finish_slice(world.pool, stale.slice_id, stale.epoch) is None
        await release_slice(world.pool, stale.slice_id, stale.epoch)
        assert await renew_leases(world.pool, [(stale.slice_id, stale.epoch)], 9) == ()
    assert (await world.slice(run_id))["state"] == "running"
    await world.check(run_id)


async def test_writes_after_the_end_are_refused(world):
    run_id = await world.submit()
    claim = await world.claim(run_id)
    await settle_run(world.pool, run_id, cancelled=True)
    with pytest.raises(LeaseLost):
        await world.record(claim, 1, [0])
    await world.check(run_id)


async def test_events_are_numbered_without_gaps_under_concurrent_slices(world):
    run_id = await world.submit(runs=200, slices=5)
    claims = [await world.claim(run_id, part) for part in range(5)]

    async def write(part, claim):
        return [
            await world.record(claim, n, [part * 40 + n], events=1 + (n + part) % 4)
            for n in range(1, 31)
        ]

    found = await asyncio.gather(*(write(*pair) for pair in enumerate(claims)))
    assert all(befores == sorted(befores) for befores in found)
    assert (await world.run(run_id))["done"] == 150
    await world.check(run_id)


async def test_what_is_published_is_byte_for_byte_what_is_replayed(world):
    run_id = await world.submit()
    claim = await world.claim(run_id)
    data = b'{"text":"\\u00fc  \xc3\xbc \\"","n":1.50,"big":12345678901234567890,"a":1,"a":2}'
    row = b'[{"type":"result","data":' + data + b"}]"
    text = "select type, data from json_to_recordset($1) as (type text, data json)"
    assert (await world.pool.fetchrow(text, row))["data"] == data
    await world.record(claim, 1, events=2)
    channels = world.redis.pubsub(ignore_subscribe_messages=True)
    await channels.subscribe(PREFIX + str(run_id))
    await channels.get_message(timeout=1)
    stored = await list_events(world.pool, run_id, 2)
    assert await publish(world.redis, run_id, [Told(*event) for event in stored])
    message = await next_message(channels, 2)
    await channels.aclose()
    assert decode_batch(message[1]) == stored


async def test_a_hostile_word_is_stored_as_it_is(world):
    run_id = await world.submit()
    claim = await world.claim(run_id)
    from db.domain.events import encode, join_rows, make_event  # noqa: PLC0415
    from db.samples import Batch, record_batch  # noqa: PLC0415

    word = "'; drop table runs; -- \\ \" \u2028 ☃ \x01"
    event = make_event("result", error=word)
    batch = Batch(claim.slice_id, claim.epoch, 1, b"[]", b"[]", join_rows([event.row()]))
    await record_batch(world.pool, batch)
    (told,) = await list_events(world.pool, run_id, 2)
    assert told.data == encode({"error": word})


async def test_a_summary_reads_what_was_stored(world):
    run_id = await world.submit(runs=4)
    await world.record(await world.claim(run_id), 1, range(4))
    await settle_run(world.pool, run_id)
    summary = msgspec.json.decode((await world.run(run_id))["summary"])
    assert summary["rows"][0]["ttft_ms"]["mean"] == 12.5
    assert summary["rows"][0]["itl_ms"]["n"] == 8
