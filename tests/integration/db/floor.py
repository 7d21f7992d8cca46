"""What tests of the floor do again and again: users, runs, batches, and the invariants after."""

import json
from itertools import pairwise
from uuid import UUID, uuid4

from db.domain.catalog import find_target
from db.domain.events import encode, join_rows, make_event
from db.domain.lifecycle import may_follow
from db.domain.plan import make_plan
from db.domain.samples import Attempt, Sample
from db.domain.specs import BenchmarkSpec
from db.queue import Doorbell
from db.samples import Batch, record_batch
from db.slices import claim_slice
from db.submit import NewRun, submit

LOCAL = UUID("00000000-0000-4000-8000-000000000001")
TERMINAL = {"complete": "completed", "error": "failed", "cancelled": "cancelled"}


def sample(key, *, ok=True, **more):
    code = None if ok else "PROVIDER_TIMEOUT"
    return Sample(
        key=key, provider="sim", model_id="sim/fast", context_tokens=0, ordinal=key + 1, ok=ok,
        attempts=1, error_code=code, error=code, ttft_ms=12.5, total_ms=100.0, itl_ms=(1.5, 2.5),
        output_tokens=5, input_tokens=9, tokens_from="usage", cost_usd=0.001, **more,
    )  # fmt: skip


class World:
    def __init__(self, pool, redis=None):
        self.pool, self.redis, self.bell = pool, redis, Doorbell(redis)

    async def user(self):
        user_id = uuid4()
        text = "insert into users (id, email, role) values ($1, $2, 'user')"
        await self.pool.execute(text, user_id, f"{user_id}@test")
        return user_id

    async def submit(
        self, *, owner=LOCAL, runs=3, slices=1, cap=1000, models=("sim/fast",),
        visibility="private", priority=0, **more,
    ):  # fmt: skip
        targets = tuple(find_target(model) for model in models)
        spec = BenchmarkSpec(targets=targets, runs=runs, **({"warmup": False} | more))
        planned = len(make_plan(spec).samples)
        new = NewRun(owner, spec, planned, visibility, slices, priority)
        return await submit(self.pool, self.bell, new, user_cap=cap)

    async def slices(self, run_id):
        text = "select * from slices where run_id = $1 order by ordinal"
        return await self.pool.fetch(text, run_id)

    async def slice(self, run_id):
        (row,) = await self.slices(run_id)
        return row

    async def run(self, run_id):
        return await self.pool.fetchrow("select * from runs where id = $1", run_id)

    async def claim(self, run_id, part=0, lease_s=30.0, owner="w"):
        row = (await self.slices(run_id))[part]
        return await claim_slice(self.pool, row["id"], owner, lease_s)

    async def record(self, claim, number, keys=(), *, events=1, ok=True, db=None):
        attempts = [Attempt(key=key, attempt=1, status=200) for key in keys]
        told = [make_event("progress", n=n, text='ü \\ " 1.50') for n in range(events)]
        batch = Batch(
            claim.slice_id,
            claim.epoch,
            number,
            join_rows([encode(sample(key, ok=ok)) for key in keys]),
            join_rows([encode(attempt) for attempt in attempts]),
            join_rows([event.row() for event in told]),
        )
        return await record_batch(db or self.pool, batch)

    async def lapse(self, run_id):
        """Let the leases of a run end now."""
        text = (
            "update slices set lease_until = now() - interval '1 second'"
            " where run_id = $1 and state = 'running'"
        )
        await self.pool.execute(text, run_id)

    async def events(self, run_id):
        text = "select seq, type, data from run_events where run_id = $1 order by seq"
        return await self.pool.fetch(text, run_id)

    async def check(self, run_id):
        """Invariants I2, I5 and I6 of the reliability page."""
        run, events = await self.run(run_id), await self.events(run_id)
        count = "select count(*), count(*) filter (where not ok) from samples where run_id = $1"
        done, failed = await self.pool.fetchrow(count, run_id)
        assert (run["done"], run["failed"]) == (done, failed)
        if run["state"] == "completed":
            assert done == run["planned"]
        assert [row["seq"] for row in events] == list(range(1, run["last_seq"] + 1))
        states = [json.loads(row["data"])["status"] for row in events if row["type"] == "status"]
        last = [row["type"] for row in events if row["type"] in TERMINAL]
        states += [TERMINAL[word] for word in last]
        assert states[0] == "queued"
        assert all(may_follow(*pair) for pair in pairwise(states))
        assert states[-1] == run["state"]
        if last:
            assert events[-1]["type"] == last[0]
            live = (
                "select count(*) from slices where run_id = $1 and state in ('queued', 'running')"
            )
            assert not await self.pool.fetchval(live, run_id)
