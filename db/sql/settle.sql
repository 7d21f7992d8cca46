-- name: fence_slices :many
-- Locks slices before the run, as every writer does; the new epoch refuses late writes.
update slices set state = $2, epoch = epoch + 1, owner = null, lease_until = null
where id in (
  select id from slices where run_id = $1 and state in ('queued', 'running')
  order by id for no key update
)
returning id;

-- name: lock_run :maybe
select id, kind, spec, planned, done, failed, last_seq, started_at, cancel_requested_at
from runs where id = $1 and state in ('queued', 'running') for no key update;

-- name: finish_run :one
with run as (
  update runs set state = $2, summary = $3, error = $4, finished_at = now(),
    last_seq = last_seq + 1
  where id = $1 and state in ('queued', 'running')
  returning id, last_seq
)
insert into run_events (run_id, seq, type, data) select id, last_seq, $5, $6 from run
returning seq;
