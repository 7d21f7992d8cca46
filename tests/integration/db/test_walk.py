"""A long random walk over everything that may happen to runs, against a model of them."""

import random
from collections import Counter

import pytest

from db.domain.errors import LeaseLost, RunNotFound, RunNotRunning, RunStillRunning
from db.domain.lifecycle import TERMINAL, may_follow
from db.runs import delete_run
from db.settle import settle_run
from db.slices import expire_leases, finish_slice, pick_slices, release_slice
from db.submit import cancel

STEPS = 500
PLANNED = 6


class Model:
    """What one run should look like."""

    def __init__(self):
        self.state, self.keys, self.failed = "queued", set(), 0
        self.claim, self.number, self.wanted = None, 0, False
        self.stale = []  # claims whose lease was lost

    def move(self, state):
        assert state == self.state or may_follow(self.state, state)
        self.state = state

    def lose(self):
        if self.claim:
            self.stale.append(self.claim)
        self.claim = None


class Walk:
    def __init__(self, world, source, owner):
        self.world, self.source, self.owner = world, source, owner
        self.models, self.seen = {}, set()
        self.taken = Counter()

    def any(self):
        return self.source.choice(list(self.models)[-4:]) if self.models else None

    async def step(self):
        names = ["submit", *["claim"] * 3, *["record"] * 6, "again", "late", "late", "expire"]
        name = self.source.choice(
            [*names, "release", "finish", "finish", "cancel", "delete", "fail"]
        )
        run_id = self.any()
        if name == "submit" or run_id is None:
            name, run_id = "submit", await self.world.submit(owner=self.owner, runs=PLANNED, cap=3)
            self.models[run_id] = Model()
        else:
            await getattr(self, f"do_{name}")(run_id, self.models[run_id])
        self.taken[name] += 1
        if run_id in self.models:
            await self.agrees(run_id, self.models[run_id])

    async def agrees(self, run_id, model):
        self.seen.add(model.state)
        run = await self.world.run(run_id)
        assert (run["state"], run["done"], run["failed"]) == (
            model.state, len(model.keys), model.failed,
        )  # fmt: skip
        await self.world.check(run_id)

    async def do_claim(self, run_id, model):
        await pick_slices(self.world.pool, 3, 10)
        claim = await self.world.claim(run_id)
        assert (claim is None) == (model.claim is not None or model.state in TERMINAL)
        if claim:
            assert all(claim.epoch > old.epoch for old in model.stale)
            assert claim.cancelled == model.wanted
            model.claim, model.number = claim, 0
            model.move("running")

    async def do_record(self, run_id, model):
        if not model.claim:
            return
        keys = self.source.sample(range(PLANNED), self.source.randint(0, 2))
        ok = self.source.random() < 0.8
        model.number += 1
        assert await self.world.record(model.claim, model.number, keys, ok=ok) is not None
        fresh = set(keys) - model.keys
        model.keys |= fresh
        model.failed += 0 if ok else len(fresh)

    async def do_again(self, run_id, model):
        if model.claim and model.number:
            assert await self.world.record(model.claim, model.number, range(PLANNED)) is None

    async def do_late(self, run_id, model):
        if model.stale:
            claim = self.source.choice(model.stale)
            with pytest.raises(LeaseLost):
                await self.world.record(claim, self.source.randint(1, 9), range(PLANNED))
            assert await finish_slice(self.world.pool, claim.slice_id, claim.epoch) is None
            await release_slice(self.world.pool, claim.slice_id, claim.epoch)

    async def do_expire(self, run_id, model):
        await self.world.lapse(run_id)
        lost = await expire_leases(self.world.pool)
        assert [one.run_id for one in lost] == ([run_id] if model.claim else [])
        model.lose()

    async def do_release(self, run_id, model):
        if model.claim:
            await release_slice(self.world.pool, model.claim.slice_id, model.claim.epoch)
            model.lose()

    async def do_finish(self, run_id, model):
        if not model.claim:
            return
        claim, missing = model.claim, set(range(PLANNED)) - model.keys
        model.keys |= missing
        assert await self.world.record(claim, model.number + 1, missing) is not None
        assert await finish_slice(self.world.pool, claim.slice_id, claim.epoch) is True
        await settle_run(self.world.pool, run_id)
        model.lose()
        model.move("failed" if model.failed == PLANNED else "completed")

    async def do_fail(self, run_id, model):
        if self.source.random() < 0.7:
            return
        error = {"code": "X", "message": "y"}
        told = await settle_run(self.world.pool, run_id, error=error)
        assert (told is None) == (model.state in TERMINAL)
        if told:
            model.lose()
            model.move("failed")

    async def do_cancel(self, run_id, model):
        try:
            await cancel(self.world.pool, self.world.bell, run_id, self.owner)
        except RunNotRunning:
            assert model.state in TERMINAL
            return
        assert model.state not in TERMINAL
        model.wanted = True
        if not model.claim:
            model.move("cancelled")
        elif self.source.random() < 0.5:  # its worker hears
            await settle_run(self.world.pool, run_id, cancelled=True)
            model.lose()
            model.move("cancelled")

    async def do_delete(self, run_id, model):
        with pytest.raises(RunNotFound):
            await delete_run(self.world.pool, run_id, await self.world.user())
        try:
            await delete_run(self.world.pool, run_id, self.owner)
        except RunStillRunning:
            assert model.state == "running"
            return
        assert model.state != "running"
        del self.models[run_id]
        assert await self.world.run(run_id) is None


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_random_walk_keeps_every_invariant(world, seed):
    walk = Walk(world, random.Random(seed), await world.user())
    for _ in range(STEPS):
        await walk.step()
    assert walk.seen == {"queued", "running", *TERMINAL}
    assert len(walk.taken) == 11, walk.taken
    for run_id, model in walk.models.items():
        await walk.agrees(run_id, model)
