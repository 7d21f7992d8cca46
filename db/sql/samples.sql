-- name: record_batch :maybe
-- The one hot write: samples, attempts and events of up to some 50 calls, counted once. No row:
-- the lease is lost, this very batch is already in, or the server lost the one before it.
-- Lock order everywhere: slice, then run.
with fence as (
  update slices set last_batch = $3, opened = true,
    crash_count = case when json_array_length($4) > 0 then 0 else crash_count end
  where id = $1 and epoch = $2 and state = 'running' and last_batch = $3 - 1
  returning run_id
), stored as (
  insert into samples (run_id, key, provider, model_id, context_tokens, ordinal, ok, error_code,
    error, attempts, ttft_ms, total_ms, first_byte_ms, first_answer_ms, tpot_ms, tps, input_tps,
    output_tps, itl_ms, input_tokens, output_tokens, cached_tokens, reasoning_tokens, tokens_from,
    cost_usd, response_id, finish_reason, tainted)
  select fence.run_id, s.* from fence, json_to_recordset($4) as s (
    key int, provider text, model_id text, context_tokens int, ordinal int, ok bool,
    error_code text, error text, attempts int, ttft_ms float8, total_ms float8,
    first_byte_ms float8, first_answer_ms float8, tpot_ms float8, tps float8, input_tps float8,
    output_tps float8, itl_ms real[], input_tokens bigint, output_tokens bigint,
    cached_tokens bigint, reasoning_tokens bigint, tokens_from text, cost_usd float8,
    response_id text, finish_reason text, tainted bool)
  on conflict do nothing
  returning ok
), tried as (
  insert into attempts (run_id, key, epoch, attempt, status, error_code, error, waited_ms,
    ttft_ms, total_ms, response_id)
  select fence.run_id, a.key, $2, a.attempt, a.status, a.error_code, a.error, a.waited_ms,
    a.ttft_ms, a.total_ms, a.response_id
  from fence, json_to_recordset($5) as a (key int, attempt int, status int, error_code text,
    error text, waited_ms float8, ttft_ms float8, total_ms float8, response_id text)
  on conflict do nothing
), counted as (
  update runs set
    done = done + (select count(*) from stored),
    failed = failed + (select count(*) from stored where not ok),
    last_seq = last_seq + json_array_length($6)
  from fence where runs.id = fence.run_id
  returning runs.id, last_seq - json_array_length($6) as before
), told as (
  insert into run_events (run_id, seq, type, data)
  select counted.id, counted.before + e.place, e.type, e.data
  from counted, rows from (json_to_recordset($6) as (type text, data json))
    with ordinality as e (type, data, place)
)
select before from counted;

-- name: holds_slice :maybe
select last_batch from slices where id = $1 and epoch = $2 and state = 'running';

-- name: list_keys :many
select key from samples where run_id = $1;

-- name: list_samples :many
select * from samples where run_id = $1 and key > $2 order by key limit $3;

-- name: list_attempts :many
select key, epoch, attempt, status, error_code, error, waited_ms, ttft_ms, total_ms, response_id
from attempts where run_id = $1 and key between $2 and $3 order by key, epoch, attempt;

-- name: list_measures :many
-- What a summary needs of each sample, and no more.
select key, ok, ttft_ms, total_ms, tpot_ms, tps, input_tps, output_tps, itl_ms,
       input_tokens, output_tokens, cost_usd, attempts, error_code, context_tokens, ordinal
from samples where run_id = $1 order by key;
