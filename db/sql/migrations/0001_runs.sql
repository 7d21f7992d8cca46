-- Runs and all that hangs on them. States: db/domain/lifecycle.py.
create table users (
  id uuid primary key,
  email text not null unique,
  role text not null check (role in ('user', 'admin')),
  created_at timestamptz not null default now()
);

-- who a request without a token is, where ASSAY_AUTH=open
insert into users (id, email, role)
values ('00000000-0000-4000-8000-000000000001', 'local@localhost', 'admin');

create table runs (
  id uuid primary key,
  owner_id uuid not null references users on delete cascade,
  kind text not null,
  state text not null default 'queued'
    check (state in ('queued', 'running', 'completed', 'failed', 'cancelled')),
  visibility text not null check (visibility in ('private', 'unlisted', 'public')),
  priority smallint not null default 0,
  spec jsonb not null,
  planned integer not null check (planned >= 0),
  done integer not null default 0,
  failed integer not null default 0,
  last_seq bigint not null default 0, -- events are numbered 1..last_seq
  summary jsonb,
  error jsonb,
  cancel_requested_at timestamptz,
  created_at timestamptz not null default now(),
  started_at timestamptz,
  finished_at timestamptz,
  constraint finished_if_and_only_if_terminal
    check ((state in ('completed', 'failed', 'cancelled')) = (finished_at is not null)),
  constraint running_has_started check (state <> 'running' or started_at is not null),
  constraint counts_fit check (failed <= done and done <= planned)
);
create index runs_of_owner on runs (owner_id, created_at desc, id desc);
create index runs_active on runs (owner_id) where state in ('queued', 'running');
create index runs_to_cancel on runs (cancel_requested_at)
  where state in ('queued', 'running') and cancel_requested_at is not null;

create table slices (
  id uuid primary key,
  run_id uuid not null references runs on delete cascade,
  owner_id uuid not null, -- its run's: turns are counted without a join
  ordinal integer not null,
  state text not null default 'queued'
    check (state in ('queued', 'running', 'completed', 'failed', 'cancelled')),
  epoch integer not null default 0, -- each holder has its own; writes of older ones are refused
  last_batch integer not null default 0, -- within the epoch: a batch sent twice is written once
  opened boolean not null default false, -- its opening events are written
  crash_count integer not null default 0, -- in a row, without a sample stored between
  owner text,
  lease_until timestamptz,
  rung_at timestamptz, -- told to the queue; null: waits for its turn
  created_at timestamptz not null default now(),
  -- counts against its owner's concurrency; a column, so that one small index answers for it
  busy boolean not null generated always as
    (state = 'running' or (state = 'queued' and rung_at is not null)) stored,
  unique (run_id, ordinal),
  constraint leased_if_and_only_if_running
    check ((state = 'running') = (lease_until is not null and owner is not null))
) with (fillfactor = 70); -- heartbeats and batches update in place
create index slices_waiting on slices (created_at) where state = 'queued';
create index slices_leased on slices (lease_until) where state = 'running';
create index slices_busy on slices (owner_id) where busy;
create index slices_unrung on slices (owner_id) where state = 'queued' and rung_at is null;

create table samples (
  run_id uuid not null references runs on delete cascade,
  key integer not null,
  provider text not null,
  model_id text not null,
  context_tokens integer not null,
  ordinal integer not null,
  ok boolean not null,
  error_code text,
  error text,
  attempts integer not null,
  ttft_ms double precision,
  total_ms double precision,
  first_byte_ms double precision,
  first_answer_ms double precision,
  tpot_ms double precision,
  tps double precision,
  input_tps double precision,
  output_tps double precision,
  itl_ms real[],
  input_tokens bigint,
  output_tokens bigint,
  cached_tokens bigint,
  reasoning_tokens bigint,
  tokens_from text check (tokens_from in ('usage', 'tokenizer', 'mixed')),
  cost_usd double precision,
  response_id text,
  finish_reason text,
  tainted boolean not null default false,
  created_at timestamptz not null default now(),
  primary key (run_id, key),
  constraint failed_says_why check (ok or error_code is not null)
);
create index samples_by_model on samples (model_id, created_at);

-- every call that was made, counted or not: retries never hide inside a measured latency
create table attempts (
  run_id uuid not null references runs on delete cascade,
  key integer not null,
  epoch integer not null,
  attempt integer not null,
  status integer,
  error_code text,
  error text,
  waited_ms double precision not null, -- before this attempt: back-off and provider limits
  ttft_ms double precision,
  total_ms double precision not null,
  response_id text,
  created_at timestamptz not null default now(),
  primary key (run_id, key, epoch, attempt)
);

create table run_events (
  run_id uuid not null references runs on delete cascade,
  seq bigint not null,
  type text not null,
  data json not null, -- json, not jsonb: replay gives the very bytes that were published
  created_at timestamptz not null default now(),
  primary key (run_id, seq)
);

create function rfc3339(at timestamptz) returns text language sql stable
  return to_char(at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"');

create function status_event(kind text, state text) returns json language sql stable
  return format('{"status":%s,"kind":%s,"timestamp":%s}',
                to_json(state), to_json(kind), to_json(rfc3339(now())))::json;
