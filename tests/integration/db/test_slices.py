"""Claims, leases, fences, batches and fairness."""

import asyncio
import json
from uuid import uuid4

import asyncpg
import msgspec
import pytest

from db.bus import PREFIX, Told, decode_batch, publish
from db.domain.errors import LeaseLost
from db.domain.lifecycle import POISON_CRASHES
from db.domain.samples import Sample
from db.events import list_events
from db.queue import next_message
from db.samples import list_attempts, list_keys, list_measures, list_samples
from db.settle import settle_run
from db.slices import (
    abandoned_runs,
    expire_leases,
    finish_slice,
    pick_slices,
    poisoned_runs,
    release_slice,
    renew_leases,
    unheard_slices,
)
from db.submit import cancel

REFUSED = (asyncpg.CheckViolationError, asyncpg.UniqueViolationError, asyncpg.NotNullViolationError)


async def test_a_claim_starts_the_run_once_and_tells_it(world):
    run_id = await world.submit(slices=2)
    first, second = await world.claim(run_id, 0), await world.claim(run_id, 1)
    assert (first.epoch, first.opened, first.cancelled, first.planned) == (1, False, False, 3)
    assert [(told.seq, told.type) for told in first.told] == [(2, "status")]
    assert second.told == ()
    assert await list_events(world.pool, run_id, 1) == first.told
    assert json.loads(first.told[0].data)["status"] == "running"
    run = await world.run(run_id)
    assert (run["state"], run["started_at"] is not None) == ("running", True)
    await world.check(run_id)


async def test_of_many_claimers_one_wins(world):
    for _ in range(10):
        run_id = await world.submit()
        claims = await asyncio.gather(*(world.claim(run_id, owner=f"w{n}") for n in range(8)))
        assert len([claim for claim in claims if claim]) == 1
        await world.check(run_id)


async def test_slices_of_one_run_claimed_at_once_start_it_once(world):
    for _ in range(10):
        run_id = await world.submit(slices=6)
        claims = await asyncio.gather(*(world.claim(run_id, part) for part in range(6)))
        assert all(claims)
        assert sum(len(claim.told) for claim in claims) == 1
        await world.check(run_id)


async def test_each_holder_has_a_new_epoch(world):
    run_id = await world.submit()
    epochs = []
    for _ in range(3):
        epochs.append((await world.claim(run_id)).epoch)
        await world.lapse(run_id)
        await expire_leases(world.pool)
    assert epochs == sorted(set(epochs))
    await world.check(run_id)


async def test_a_claim_says_that_the_run_was_cancelled(world):
    run_id = await world.submit()
    text = "update runs set cancel_requested_at = now() where id = $1"
    await world.pool.execute(text, run_id)
    assert (await world.claim(run_id)).cancelled


async def test_a_claim_after_the_first_batch_is_opened(world):
    run_id = await world.submit()
    claim = await world.claim(run_id)
    await world.record(claim, 1)
    await release_slice(world.pool, claim.slice_id, claim.epoch)
    assert (await world.claim(run_id)).opened


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


async def test_a_renewal_moves_the_lease_and_tells_of_a_cancel(world, local):
    run_id, other = await world.submit(), await world.submit()
    claim, second = await world.claim(run_id, lease_s=1), await world.claim(other, lease_s=1)
    await cancel(world.pool, world.bell, other, local)
    held = [(c.slice_id, c.epoch) for c in (claim, second)] + [(uuid4(), 1)]
    found = dict(await renew_leases(world.pool, held, 100))
    assert found == {claim.slice_id: False, second.slice_id: True}
    left = "select extract(epoch from lease_until - now())::float from slices where id = $1"
    assert 98 < await world.pool.fetchval(left, claim.slice_id) <= 100
    assert await expire_leases(world.pool) == ()


async def test_an_expired_lease_requeues_the_slice_and_counts_a_crash(world):
    run_id = await world.submit()
    claim = await world.claim(run_id)
    assert await expire_leases(world.pool) == ()
    await world.lapse(run_id)
    ((slice_id, of_run, crashes),) = await expire_leases(world.pool)
    assert (slice_id, of_run, crashes) == (claim.slice_id, run_id, 1)
    row = await world.slice(run_id)
    assert (row["state"], row["epoch"], row["owner"], row["rung_at"]) == (
        "queued", claim.epoch + 1, None, None,
    )  # fmt: skip
    await world.check(run_id)


async def test_two_that_expire_at_once_count_one_crash(world):
    run_id = await world.submit(slices=4)
    for part in range(4):
        await world.claim(run_id, part)
    await world.lapse(run_id)
    found = await asyncio.gather(*(expire_leases(world.pool) for _ in range(6)))
    assert sum(map(len, found)) == 4
    assert {row["crash_count"] for row in await world.slices(run_id)} == {1}


async def test_a_holder_that_writes_right_now_is_alive(world):
    run_id = await world.submit()
    claim = await world.claim(run_id)
    await world.lapse(run_id)
    async with world.pool.acquire() as connection, asyncio.timeout(2), connection.transaction():
        await world.record(claim, 1, [0], db=connection)
        assert await expire_leases(world.pool) == ()
    assert len(await expire_leases(world.pool)) == 1
    await world.check(run_id)


async def test_an_expiry_under_way_is_not_waited_for(world):
    run_id = await world.submit()
    await world.claim(run_id)
    await world.lapse(run_id)
    async with world.pool.acquire() as connection, asyncio.timeout(2), connection.transaction():
        assert len(await expire_leases(connection)) == 1
        assert await expire_leases(world.pool) == ()
    assert await expire_leases(world.pool) == ()
    assert (await world.slice(run_id))["crash_count"] == 1


async def test_a_released_slice_may_be_claimed_at_once_and_counts_no_crash(world):
    run_id = await world.submit()
    claim = await world.claim(run_id)
    ring = await release_slice(world.pool, claim.slice_id, claim.epoch)
    row = await world.slice(run_id)
    assert (row["state"], row["epoch"], row["crash_count"]) == ("queued", ring.epoch, 0)
    assert row["rung_at"] is not None
    assert (await world.claim(run_id)).epoch > claim.epoch


async def test_the_last_slice_to_finish_knows_it(world):
    run_id = await world.submit(slices=3)
    claims = [await world.claim(run_id, part) for part in range(3)]
    found = [await finish_slice(world.pool, c.slice_id, c.epoch) for c in claims]
    assert found == [False, False, True]
    assert await finish_slice(world.pool, claims[0].slice_id, claims[0].epoch) is None


async def test_a_slice_that_killed_three_workers_is_poison(world):
    run_id = await world.submit()
    for crash in range(1, POISON_CRASHES + 1):
        assert await poisoned_runs(world.pool, POISON_CRASHES) == ()
        await world.claim(run_id)
        await world.lapse(run_id)
        assert (await expire_leases(world.pool))[0].crash_count == crash
    assert await poisoned_runs(world.pool, POISON_CRASHES) == (run_id,)


async def test_samples_stored_between_crashes_keep_a_slice_from_being_poison(world):
    run_id = await world.submit(runs=9)
    for key in range(6):
        claim = await world.claim(run_id)
        await world.record(claim, 1, [key])
        await world.record(claim, 2, [], events=1)
        await world.lapse(run_id)
        await expire_leases(world.pool)
    assert await poisoned_runs(world.pool, 2) == ()
    await world.check(run_id)


async def test_events_alone_do_not_keep_a_slice_from_being_poison(world):
    run_id = await world.submit()
    for _ in range(POISON_CRASHES):
        await world.record(await world.claim(run_id), 1)
        await world.lapse(run_id)
        await expire_leases(world.pool)
    assert await poisoned_runs(world.pool, POISON_CRASHES) == (run_id,)


async def test_a_slice_that_nobody_heard_is_told_of_again(world):
    run_id = await world.submit(slices=2, cap=1)
    first = (await world.slices(run_id))[0]
    assert await unheard_slices(world.pool, 5) == ()
    await world.pool.execute("update slices set rung_at = rung_at - interval '6 s'")
    assert await unheard_slices(world.pool, 5) == ((first["id"], 0),)
    await world.claim(run_id)
    assert await unheard_slices(world.pool, 5) == ()


async def test_runs_that_nobody_settled_are_found(world, local):
    run_id, held, waiting = await world.submit(), await world.submit(), await world.submit()
    claim = await world.claim(run_id)
    await world.claim(held)
    assert await abandoned_runs(world.pool, 1.2) == ()
    await finish_slice(world.pool, claim.slice_id, claim.epoch)
    assert await abandoned_runs(world.pool, 1.2) == ((run_id, False),)
    await settle_run(world.pool, run_id)
    await cancel(world.pool, world.bell, held, local)
    assert await abandoned_runs(world.pool, 1.2) == ()
    await world.pool.execute(
        "update runs set cancel_requested_at = now() - interval '2 s' where id = any($1)",
        [held, waiting],
    )
    assert set(await abandoned_runs(world.pool, 1.2)) == {(held, True), (waiting, True)}


async def test_picking_is_fair_between_users(world):
    greedy, modest = await world.user(), await world.user()
    many = [await world.submit(owner=greedy, cap=0) for _ in range(60)]
    await world.submit(owner=greedy, slices=440, cap=0)
    one = await world.submit(owner=modest, cap=0)
    first = await pick_slices(world.pool, 8, 2)
    mine = (await world.slice(one))["id"]
    assert mine in {ring.slice_id for ring in first}, "in the very first round"
    assert (await world.slice(many[0]))["id"] in {ring.slice_id for ring in first}
    rest = await pick_slices(world.pool, 8, 1000)
    assert len(rest) == 7, "the greedy one gets no more than his cap"
    assert await pick_slices(world.pool, 8, 1000) == ()


async def test_who_has_much_running_is_served_after_who_has_nothing(world):
    busy, idle = await world.user(), await world.user()
    for _ in range(3):
        await world.claim(await world.submit(owner=busy))
    await world.submit(owner=busy, cap=0)
    late = await world.submit(owner=idle, cap=0)
    (ring,) = await pick_slices(world.pool, 8, 1)
    assert ring.slice_id == (await world.slice(late))["id"]


async def test_a_users_own_runs_go_by_priority_then_age(world):
    low = await world.submit(cap=0)
    high = await world.submit(cap=0, priority=5)
    later = await world.submit(cap=0)
    order = [(await pick_slices(world.pool, 9, 1))[0].slice_id for _ in range(3)]
    assert order == [(await world.slice(run_id))["id"] for run_id in (high, low, later)]


async def test_picking_at_once_picks_each_slice_once_and_keeps_the_cap(world):
    owners = [await world.user() for _ in range(4)]
    for owner in owners:
        await world.submit(owner=owner, slices=30, cap=0)
    found = await asyncio.gather(*(pick_slices(world.pool, 5, 100) for _ in range(8)))
    picked = [ring.slice_id for rings in found for ring in rings]
    assert len(picked) == len(set(picked)) == 20


async def test_picking_renewing_and_ending_at_once_never_deadlock(world, local):
    for _ in range(25):
        runs = [await world.submit(slices=6, cap=0) for _ in range(2)]
        held = []
        for run_id in runs:
            held += [await world.claim(run_id, part) for part in (4, 1, 3)]
        pairs = [(claim.slice_id, claim.epoch) for claim in held]
        await asyncio.gather(
            *(pick_slices(world.pool, 100, 100) for _ in range(2)),
            renew_leases(world.pool, pairs[::-1], 9),
            renew_leases(world.pool, pairs, 9),
            *(settle_run(world.pool, run_id, cancelled=True) for run_id in runs),
        )
        for run_id in runs:
            await world.check(run_id)


ROW = "insert into samples (run_id, key, provider, model_id, context_tokens, ordinal, attempts, ok"
ILLEGAL = (
    "update runs set state = 'done'",
    "update runs set state = 'completed'",
    "update runs set finished_at = now()",
    "update runs set state = 'running', started_at = null",
    "update runs set done = planned + 1",
    "update runs set failed = 1",
    "update runs set visibility = 'hidden'",
    "update slices set state = 'running'",
    "update slices set state = 'running', owner = 'w'",
    "update slices set lease_until = now(), owner = 'w'",
    "update slices set ordinal = 0",
    ROW + ") select id, 0, '', '', 0, 1, 1, false from runs",
    ROW + ", tokens_from) select id, 0, '', '', 0, 1, 1, true, 'guess' from runs",
    "insert into run_events (run_id, seq, type, data) select id, 1, 'x', '{}' from runs",
    "update users set role = 'root'",
)


async def test_the_database_refuses_every_illegal_state(world):
    await world.submit(slices=2)
    for change in ILLEGAL:
        with pytest.raises(REFUSED):
            await world.pool.execute(change)


async def test_a_summary_reads_what_was_stored(world):
    run_id = await world.submit(runs=4)
    await world.record(await world.claim(run_id), 1, range(4))
    await settle_run(world.pool, run_id)
    summary = msgspec.json.decode((await world.run(run_id))["summary"])
    assert summary["rows"][0]["ttft_ms"]["mean"] == 12.5
    assert summary["rows"][0]["itl_ms"]["n"] == 8
