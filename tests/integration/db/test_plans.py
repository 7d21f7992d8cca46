"""The hot statements find their rows by index, on a database that has some."""

import json
from uuid import uuid4

import pytest

from db.domain.events import encode
from db.statements import load

BIG = ("runs", "slices", "run_events", "samples", "attempts")
FILL = """
insert into users (id, email, role)
  select gen_random_uuid(), 'u' || n, 'user' from generate_series(1, 200) n;
with owners as (select array_agg(id) as ids from users)
insert into runs (id, owner_id, kind, visibility, spec, planned, last_seq, state, created_at,
  started_at, finished_at, cancel_requested_at)
  select gen_random_uuid(), ids[1 + n % 200], 'benchmark', 'private', '{"kind":"benchmark"}', 3, 3,
    case when n % 400 = 0 then 'queued' when n % 401 = 0 then 'running' else 'completed' end,
    now() - n * interval '1 min', case when n % 400 <> 0 then now() end,
    case when n % 400 <> 0 and n % 401 <> 0 then now() end,
    case when n % 50 = 0 then now() end
  from owners, generate_series(1, 20000) n;
insert into slices (id, run_id, owner_id, ordinal, state, owner, lease_until, rung_at)
  select gen_random_uuid(), id, owner_id, 0, state, case when state = 'running' then 'w' end,
    case when state = 'running' then now() + interval '1 min' end, now() from runs;
insert into run_events (run_id, seq, type, data)
  select id, n, 'status', '{"status":"queued","kind":"benchmark"}' from runs, generate_series(1, 3) n;
insert into samples (run_id, key, provider, model_id, context_tokens, ordinal, ok, attempts)
  select id, n, 'sim', 'sim/fast', 0, n, true, 1 from runs, generate_series(0, 2) n;
insert into attempts (run_id, key, epoch, attempt, waited_ms, total_ms)
  select id, n, 1, 1, 0, 9 from runs, generate_series(0, 2) n;
analyze;
"""
STATEMENTS = {
    name: statement
    for noun in ("runs", "slices", "samples", "settle", "events")
    for name, statement in load(noun).items()
}


def arguments(run_id, owner, slice_id):
    """Arguments per statement; every statement there is has some."""
    none = (None,) * 5
    return {
        "insert_run": (uuid4(), owner, "benchmark", "private", 0, b'{"a":1}', 3, 1, 8),
        "find_run": (run_id, owner),
        "list_runs": (owner, *none, 50),
        "list_active": (owner, "benchmark"),
        "request_cancel": (run_id, owner),
        "delete_run": (run_id, owner),
        "queue_position": (run_id,),
        "count_by_state": (),
        "claim_slice": (slice_id, "w", 8.0),
        "renew_leases": ([slice_id, uuid4()], [1, 1], 8.0),
        "release_slice": (slice_id, 1),
        "finish_slice": (slice_id, 1),
        "expire_leases": (),
        "pick_slices": (8, 500),
        "unheard_slices": (5.0,),
        "abandoned_runs": (1.2,),
        "poisoned_runs": (3,),
        "record_batch": (slice_id, 1, 1, b"[]", b"[]", b"[]"),
        "holds_slice": (slice_id, 1),
        "list_keys": (run_id,),
        "list_samples": (run_id, -1, 100),
        "list_attempts": (run_id, 0, 9),
        "list_measures": (run_id,),
        "list_events": (run_id, 0, 1000),
        "fence_slices": (run_id, "cancelled"),
        "lock_run": (run_id,),
        "finish_run": (run_id, "failed", b"{}", None, "error", b"{}"),
    }


@pytest.fixture
async def big(pool):
    await pool.execute(FILL)
    return await pool.fetchrow(
        "select runs.id, runs.owner_id, slices.id as slice_id from runs join slices on run_id = runs.id"
        " where runs.state = 'running' limit 1"
    )


def scans(plan):
    if plan["Node Type"] == "Seq Scan" and plan.get("Relation Name") in BIG:
        yield plan["Relation Name"]
    for part in plan.get("Plans", ()):
        yield from scans(part)


async def test_no_statement_reads_a_whole_table(pool, big):
    given = arguments(*big)
    assert set(given) == set(STATEMENTS), "a new statement must be explained here"
    read_whole = {}
    async with pool.acquire() as connection:
        for name, statement in STATEMENTS.items():
            prepared = await connection.prepare(statement.sql)
            plan = await prepared.explain(*given[name])
            found = list(scans(plan[0]["Plan"]))
            if found:
                read_whole[name] = found
    assert read_whole == {}


async def test_a_page_of_runs_reads_no_more_than_the_page(pool, big):
    text = STATEMENTS["list_runs"].sql
    async with pool.acquire() as connection:
        prepared = await connection.prepare(text)
        plan = await prepared.explain(big["owner_id"], *(None,) * 5, 10, analyze=True)
    assert "runs_of_owner" in json.dumps(plan)
    assert encode(plan).count(b"Seq Scan") == 0
