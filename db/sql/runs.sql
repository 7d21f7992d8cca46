-- name: insert_run :many
-- One statement, so one transaction: the run, its slices and its first event. A slice is marked
-- rung only while its owner is below his concurrency; the rest wait for the dispatcher.
with busy as (
  select count(*)::int as slices from slices where busy and owner_id = $2
), run as (
  insert into runs (id, owner_id, kind, visibility, priority, spec, planned, last_seq)
  values ($1, $2, $3, $4, $5, $6, $7, 1)
  returning id, kind, created_at
), event as (
  insert into run_events (run_id, seq, type, data)
  select id, 1, 'status', status_event(kind, 'queued') from run
)
insert into slices (id, run_id, owner_id, ordinal, rung_at)
select gen_random_uuid(), run.id, $2, part, case when busy.slices + part < $9 then now() end
from run, busy, generate_series(0, $8 - 1) as part
returning id, rung_at is not null as rung;

-- name: find_run :maybe
-- Its owner sees a run, and whoever holds the id of one that is not private.
select * from runs where id = $1 and (owner_id = $2 or visibility <> 'private');

-- name: list_runs :many
select id, owner_id, kind, state, visibility, spec, planned, done, failed, summary, error,
       created_at, started_at, finished_at
from runs
where owner_id = $1
  and ($2::text is null or state = $2)
  and ($3::text is null or kind = $3)
  and ($4::text is null or strpos(lower(spec::text), lower($4)) > 0)
  and ($5::timestamptz is null or (created_at, id) < ($5, $6::uuid))
order by created_at desc, id desc
limit $7;

-- name: list_active :many
select id from runs
where owner_id = $1 and kind = $2 and state in ('queued', 'running') order by created_at;

-- name: request_cancel :maybe
update runs set cancel_requested_at = coalesce(cancel_requested_at, now())
where id = $1 and owner_id = $2
returning state, exists (
  select from slices where run_id = runs.id and state = 'running'
) as held;

-- name: delete_run :maybe
-- Slices are locked before the run, as everywhere: the cascade alone would lock them after it.
with held as materialized (select id from slices where run_id = $1 order by id for update)
delete from runs
where id = $1 and owner_id = $2 and state <> 'running' and (select count(*) from held) >= 0
returning id;

-- name: queue_position :maybe
select (
  select count(*)::int from runs as other
  where other.state = 'queued' and other.created_at < runs.created_at
) as ahead
from runs where id = $1 and state = 'queued';

-- name: count_by_state :many
select kind, state, count(*)::int as runs, min(created_at) as oldest from runs
where state in ('queued', 'running') group by kind, state;
