-- name: claim_slice :maybe
-- No row: somebody else has it, or nobody needs it any more.
with mine as (
  update slices set state = 'running', epoch = epoch + 1, last_batch = 0, owner = $2,
    lease_until = now() + make_interval(secs => $3)
  where id = $1 and state = 'queued'
  returning id, run_id, ordinal, epoch, opened
), begun as (
  update runs set state = 'running', started_at = now(), last_seq = last_seq + 1
  from mine where runs.id = mine.run_id and runs.state = 'queued'
  returning runs.id, runs.kind, runs.last_seq
), told as (
  insert into run_events (run_id, seq, type, data)
  select id, last_seq, 'status', status_event(kind, 'running') from begun
  returning seq, data
)
select mine.*, runs.kind, runs.owner_id, runs.spec, runs.planned,
       runs.cancel_requested_at is not null as cancelled,
       told.seq as told_seq, told.data as told_data
from mine join runs on runs.id = mine.run_id left join told on true;

-- name: renew_leases :many
-- A slice that is not answered is lost to us.
update slices set lease_until = now() + make_interval(secs => $3)
where id in (
  select slices.id from slices join unnest($1::uuid[], $2::int[]) as held (id, epoch)
    on slices.id = held.id and slices.epoch = held.epoch
  where slices.state = 'running' order by slices.id for no key update of slices
)
returning slices.id, (
  select cancel_requested_at is not null from runs where runs.id = slices.run_id
) as cancelled;

-- name: release_slice :exec
-- Its worker stops in good order: nobody crashed, and the next holder may start at once.
update slices set state = 'queued', epoch = epoch + 1, owner = null, lease_until = null,
  rung_at = now()
where id = $1 and epoch = $2 and state = 'running';

-- name: finish_slice :maybe
-- Answers whether it was the run's last one.
update slices set state = 'completed', owner = null, lease_until = null
where id = $1 and epoch = $2 and state = 'running'
returning run_id, not exists (
  select from slices as other
  where other.run_id = slices.run_id and other.id <> slices.id
    and other.state in ('queued', 'running')
) as last;

-- name: expire_leases :many
-- `skip locked`: a holder that writes right now is alive.
update slices set state = 'queued', epoch = epoch + 1, crash_count = crash_count + 1,
  owner = null, lease_until = null, rung_at = null
where id in (
  select id from slices where state = 'running' and lease_until < now()
  order by id for no key update skip locked
)
returning id, run_id, crash_count;

-- name: pick_slices :many
-- Fair: every owner's first waiting slice before anybody's second, counting what he has running.
with busy as (
  select owner_id, count(*) as slices from slices where busy group by owner_id
), ranked as (
  select slices.id, runs.priority, runs.created_at,
    coalesce(busy.slices, 0) + row_number() over (
      partition by slices.owner_id order by runs.priority desc, runs.created_at, slices.ordinal
    ) as place
  from slices join runs on runs.id = slices.run_id left join busy on busy.owner_id = slices.owner_id
  where slices.state = 'queued' and slices.rung_at is null and coalesce(busy.slices, 0) < $1
)
update slices set rung_at = now()
where id in (
  -- `skip locked`: who locks one settles it, or rings it; and nobody deadlocks
  select id from slices where state = 'queued' and rung_at is null and id in (
    select id from ranked where place <= $1 order by place, priority desc, created_at limit $2
  ) for no key update skip locked
)
returning id, epoch;

-- name: unheard_slices :many
-- Rung a while ago and claimed by nobody: the queue is long, or it lost them. Ringing twice is safe.
select id, epoch from slices
where state = 'queued' and rung_at < now() - make_interval(secs => $1)
order by created_at limit 5000;

-- name: abandoned_runs :many
-- Every slice is over and nobody settled the run, or its cancel was not honoured in time.
select id, cancel_requested_at is not null as cancelled from runs
where state in ('queued', 'running') and (
  cancel_requested_at < now() - make_interval(secs => $1)
  or (state = 'running' and not exists (
    select from slices where run_id = runs.id and state in ('queued', 'running')
  ))
);

-- name: poisoned_runs :many
select distinct run_id as id from slices where state = 'queued' and crash_count >= $1;
