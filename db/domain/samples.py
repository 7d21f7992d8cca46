"""What is kept of each measured call, and of each try it took."""

import msgspec


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One HTTP call. Its own latency only: what was waited before it stands apart."""

    key: int
    attempt: int
    status: int | None = None
    error_code: str | None = None
    error: str | None = None
    waited_ms: float = 0.0
    ttft_ms: float | None = None
    total_ms: float = 0.0
    response_id: str | None = None


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One planned call, counted once; latencies are those of its last attempt."""

    key: int
    provider: str
    model_id: str
    context_tokens: int
    ordinal: int
    ok: bool
    attempts: int
    error_code: str | None = None
    error: str | None = None
    ttft_ms: float | None = None
    total_ms: float | None = None
    first_byte_ms: float | None = None
    first_answer_ms: float | None = None
    tpot_ms: float | None = None
    tps: float | None = None
    input_tps: float | None = None
    output_tps: float | None = None
    itl_ms: tuple[float, ...] | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    tokens_from: str | None = None  # usage, tokenizer, or mixed
    cost_usd: float | None = None
    response_id: str | None = None
    finish_reason: str | None = None
    tainted: bool = False
