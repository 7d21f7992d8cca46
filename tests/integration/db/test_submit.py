"""Submitting, cancelling, deleting and listing runs."""

import asyncio
import json
from uuid import uuid4

import asyncpg
import msgspec
import pytest

from db.bus import PREFIX, decode_batch
from db.domain.errors import RunNotFound, RunNotRunning, RunStillRunning
from db.events import list_events
from db.queue import CANCEL, QUEUE, Doorbell, close_redis, next_message, open_redis
from db.runs import Filter, delete_run, fetch_run, find_run, list_active, list_runs, queue_position
from db.settle import settle_run
from db.slices import claim_slice, finish_slice
from db.submit import cancel


async def test_a_submitted_run_has_its_slices_and_its_first_event(world):
    run_id = await world.submit(runs=5, slices=3)
    run = await world.run(run_id)
    assert (run["state"], run["planned"], run["last_seq"], run["kind"]) == (
        "queued", 5, 1, "benchmark",
    )  # fmt: skip
    assert [row["ordinal"] for row in await world.slices(run_id)] == [0, 1, 2]
    ((seq, kind, data),) = await world.events(run_id)
    assert (seq, kind) == (1, "status")
    assert json.loads(data)["status"] == "queued"
    assert await world.redis.zcard(QUEUE) == 3
    await world.check(run_id)


async def test_a_submit_that_fails_leaves_nothing(world):
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await world.submit(owner=uuid4())
    counts = "select (select count(*) from runs), (select count(*) from slices), (select count(*) from run_events)"
    assert tuple(await world.pool.fetchrow(counts)) == (0, 0, 0)
    assert await world.redis.zcard(QUEUE) == 0


async def test_slices_beyond_the_users_cap_wait_for_their_turn(world):
    run_id = await world.submit(slices=5, cap=2)
    assert [row["rung_at"] is not None for row in await world.slices(run_id)] == [
        True, True, False, False, False,
    ]  # fmt: skip
    later = await world.submit(cap=3)
    latest = await world.submit(cap=3)
    assert (await world.slice(later))["rung_at"] is not None
    assert (await world.slice(latest))["rung_at"] is None
    other = await world.submit(owner=await world.user(), cap=2)
    assert (await world.slice(other))["rung_at"] is not None
    assert await world.redis.zcard(QUEUE) == 4


async def test_what_runs_counts_against_the_users_cap_and_what_is_over_does_not(world):
    run_id = await world.submit(cap=1)
    claim = await world.claim(run_id)
    assert (await world.slice(await world.submit(cap=1)))["rung_at"] is None
    await finish_slice(world.pool, claim.slice_id, claim.epoch)
    await settle_run(world.pool, run_id)
    assert (await world.slice(await world.submit(cap=1)))["rung_at"] is not None


async def test_submit_and_cancel_work_while_redis_is_away(world, local):
    away = open_redis("unix:///tmp/assay-no-such-socket")
    world.bell = Doorbell(away)
    run_id, held = await world.submit(), await world.submit()
    assert (await world.slice(run_id))["rung_at"] is not None
    await world.claim(held)
    for one in (run_id, held):
        await cancel(world.pool, world.bell, one, local)
    assert (await world.run(run_id))["state"] == "cancelled"
    assert (await world.run(held))["cancel_requested_at"] is not None
    await close_redis(away)


async def hear(redis, channel):
    channels = redis.pubsub(ignore_subscribe_messages=True)
    await channels.subscribe(channel)
    await channels.get_message(timeout=1)
    return channels


async def test_cancel_of_a_queued_run_ends_it_at_once_and_publishes_its_end(world, local):
    run_id = await world.submit(slices=2)
    channels = await hear(world.redis, PREFIX + str(run_id))
    await cancel(world.pool, world.bell, run_id, local)
    assert (await world.run(run_id))["state"] == "cancelled"
    message = await next_message(channels, 2)
    (told,) = decode_batch(message[1])
    assert (told.seq, told.type) == (2, "cancelled")
    await channels.aclose()
    assert await world.claim(run_id) is None
    await world.check(run_id)


async def test_cancel_of_a_running_run_tells_its_worker_and_leaves_the_end_to_it(world, local):
    run_id = await world.submit()
    await world.claim(run_id)
    channels = await hear(world.redis, CANCEL)
    await cancel(world.pool, world.bell, run_id, local)
    await cancel(world.pool, world.bell, run_id, local)
    assert await next_message(channels, 2) == (CANCEL.encode(), str(run_id).encode())
    await channels.aclose()
    run = await world.run(run_id)
    assert (run["state"], run["cancel_requested_at"] is not None) == ("running", True)


@pytest.mark.parametrize("end", [{}, {"cancelled": True}, {"error": {"code": "X", "message": "y"}}])
async def test_cancel_of_a_finished_run_is_a_conflict(world, local, end):
    run_id = await world.submit(runs=1)
    claim = await world.claim(run_id)
    await world.record(claim, 1, [0])
    await settle_run(world.pool, run_id, **end)
    before = await world.run(run_id)
    with pytest.raises(RunNotRunning):
        await cancel(world.pool, world.bell, run_id, local)
    assert (await world.run(run_id))["state"] == before["state"]
    await world.check(run_id)


async def test_cancel_of_a_foreign_run_finds_nothing(world):
    run_id = await world.submit(visibility="public")
    for caller in (await world.user(), uuid4()):
        with pytest.raises(RunNotFound):
            await cancel(world.pool, world.bell, run_id, caller)
    with pytest.raises(RunNotFound):
        await cancel(world.pool, world.bell, uuid4(), caller)
    assert (await world.run(run_id))["cancel_requested_at"] is None


async def test_a_deleted_run_leaves_no_row_and_never_starts(world, local):
    run_id = await world.submit(slices=2)
    ids = [row["id"] for row in await world.slices(run_id)]
    await delete_run(world.pool, run_id, local)
    for slice_id in ids:
        assert await claim_slice(world.pool, slice_id, "w", 5) is None
    for table in ("slices", "run_events", "samples", "attempts"):
        assert not await world.pool.fetchval(f"select count(*) from {table}")
    with pytest.raises(RunNotFound):
        await delete_run(world.pool, run_id, local)


async def test_a_running_run_cannot_be_deleted_and_a_finished_one_can(world, local):
    run_id = await world.submit(runs=1)
    claim = await world.claim(run_id)
    await world.record(claim, 1, [0])
    with pytest.raises(RunStillRunning):
        await delete_run(world.pool, run_id, local)
    await settle_run(world.pool, run_id)
    await delete_run(world.pool, run_id, local)
    assert await world.run(run_id) is None
    assert not await world.pool.fetchval("select count(*) from samples")


@pytest.mark.parametrize("visibility", ["private", "unlisted", "public"])
async def test_a_foreign_run_cannot_be_deleted(world, visibility):
    run_id = await world.submit(visibility=visibility)
    with pytest.raises(RunNotFound):
        await delete_run(world.pool, run_id, await world.user())
    assert await world.run(run_id)


async def test_delete_and_claim_at_once_never_deadlock(world, local):
    for _ in range(60):
        run_id = await world.submit(slices=3)
        claims = [world.claim(run_id, part) for part in range(3)]
        found = await asyncio.gather(
            delete_run(world.pool, run_id, local), *claims, return_exceptions=True
        )
        errors = [e for e in found if isinstance(e, Exception)]
        assert all(isinstance(e, RunStillRunning | IndexError) for e in errors), errors


async def test_a_private_run_is_seen_by_its_owner_only(world, local):
    run_id = await world.submit()
    open_id = await world.submit(visibility="unlisted")
    stranger = await world.user()
    assert (await fetch_run(world.pool, run_id, local)).id == run_id
    for caller in (stranger, None):
        with pytest.raises(RunNotFound):
            await fetch_run(world.pool, run_id, caller)
        assert (await find_run(world.pool, open_id, caller)).id == open_id


async def test_runs_are_listed_newest_first_page_by_page(world, local):
    ids = [await world.submit() for _ in range(7)]
    await world.submit(owner=await world.user())
    await world.pool.execute(
        "update runs set created_at = '2026-01-01' where id = any($1)", ids[:4]
    )
    seen, before = [], None
    while page := await list_runs(world.pool, local, Filter(before=before, limit=3)):
        seen += [run.id for run in page]
        before = (page[-1].created_at, page[-1].id)
    assert len(seen) == 7
    assert seen[:3] == ids[:3:-1]
    assert set(seen[3:]) == set(ids[:4])


async def test_runs_are_filtered_by_state_kind_and_words(world, local):
    first = await world.submit(prompt="Tell me of 100% wool")
    second = await world.submit(models=("gpt-4o",), prompt="Tell me of 100 sheep")
    await cancel(world.pool, world.bell, second, local)

    async def found(**which):
        return {run.id for run in await list_runs(world.pool, local, Filter(**which))}

    assert await found(state="queued") == {first}
    assert await found(kind="benchmark") == {first, second}
    assert await found(kind="other") == set()
    assert await found(search="GPT-4o") == {second}
    assert await found(search="100%") == {first}
    assert await found(search="tell_me") == set()
    assert await found(search="\\") == set()


async def test_the_place_in_the_queue_counts_runs_queued_earlier(world, local):
    ids = [await world.submit() for _ in range(3)]
    assert [await queue_position(world.pool, run_id) for run_id in ids] == [0, 1, 2]
    await world.claim(ids[0])
    assert await queue_position(world.pool, ids[2]) == 1
    assert await list_active(world.pool, local, "benchmark") == ids


async def test_events_are_read_in_pages_after_a_number(world):
    run_id = await world.submit()
    claim = await world.claim(run_id)
    await world.record(claim, 1, events=5)
    assert [e.seq for e in await list_events(world.pool, run_id, 0, 3)] == [1, 2, 3]
    assert [e.seq for e in await list_events(world.pool, run_id, 3)] == [4, 5, 6, 7]
    assert await list_events(world.pool, run_id, 7) == ()


async def test_a_run_is_read_as_it_was_asked(world, local):
    run_id = await world.submit(params={"top_p": 0.5, "nested": {"a": [1, None]}}, prompt="ü ☃")
    run = await fetch_run(world.pool, run_id, local)
    assert (run.spec.prompt, run.spec.params["nested"]) == ("ü ☃", {"a": [1, None]})
    assert run.created_at.tzinfo is not None
    await settle_run(world.pool, run_id, error={"code": "X", "message": "y"})
    run = await fetch_run(world.pool, run_id, local)
    assert run.error == {"code": "X", "message": "y"}
    assert msgspec.json.decode(run.summary)["planned"] == 3
