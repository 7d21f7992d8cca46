"""Claims, leases, fences, batches and fairness."""

import asyncio
import json
from uuid import uuid4

import asyncpg
import pytest

from db.domain.lifecycle import POISON_CRASHES
from db.events import list_events
from db.settle import settle_run
from db.slices import (
    abandoned_runs,
    expire_leases,
    finish_slice,
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
