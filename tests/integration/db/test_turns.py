"""Whose turn it is: fairness between users, priority, and no deadlock."""

import asyncio

import asyncpg

from db.settle import settle_run
from db.slices import (
    pick_slices,
    renew_leases,
)

REFUSED = (asyncpg.CheckViolationError, asyncpg.UniqueViolationError, asyncpg.NotNullViolationError)


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
