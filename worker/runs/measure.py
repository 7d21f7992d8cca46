"""From an answer's stamps and counts to the sample that is stored."""

from db.domain.plan import PlannedSample
from db.domain.samples import Sample
from db.domain.specs import Target
from db.domain.timing import measure
from worker import filler
from worker.reply import Reply, Tokens, storable
from worker.runs.job import Answer


def measure_sample(planned: PlannedSample, target: Target, answer: Answer) -> Sample:
    """Derive a sample; of a failed one only what is true of the failure."""
    reply, error = answer.reply, answer.reply.error
    tokens = count(reply) if error is None else Tokens(None, None, None)
    timing = measure(reply.stamps, tokens.output, tokens.input)
    usage = reply.usage
    return Sample(
        key=planned.key,
        provider=target.provider,
        model_id=target.model_id,
        context_tokens=planned.tier,
        ordinal=planned.run,
        ok=error is None,
        attempts=len(answer.attempts),
        error_code=error.code if error else None,
        error=describe(error) if error else None,
        ttft_ms=timing.ttft_ms,
        total_ms=timing.total_ms,
        first_byte_ms=timing.first_byte_ms,
        first_answer_ms=timing.first_answer_ms,
        tpot_ms=timing.tpot_ms,
        tps=timing.tps,
        input_tps=timing.input_tps,
        output_tps=timing.output_tps,
        itl_ms=timing.itl_ms if error is None else None,
        input_tokens=tokens.input,
        output_tokens=tokens.output,
        cached_tokens=usage.cached_tokens if usage else None,
        reasoning_tokens=usage.reasoning_tokens if usage else None,
        tokens_from=tokens.source,
        cost_usd=price(target, tokens),
        response_id=reply.response_id,
        finish_reason=reply.finish_reason,
    )


def count(reply: Reply) -> Tokens:
    """Take the provider's own counts; where it told none, the tokenizer's for the answer."""
    usage = reply.usage
    if usage and usage.output_tokens is not None:
        source = "usage" if usage.input_tokens is not None else "mixed"
        return Tokens(usage.input_tokens, usage.output_tokens, source)
    counted = filler.count_tokens("".join(reply.reasoning) + "".join(reply.text))
    known = usage.input_tokens if usage else None
    return Tokens(known, counted, "tokenizer" if known is None else "mixed")


def price(target: Target, tokens: Tokens) -> float | None:
    """Cost in USD from per-million prices; None where a price or a count is unknown."""
    rates = (target.input_usd_per_mtok, target.output_usd_per_mtok)
    counts = (tokens.input, tokens.output)
    if None in rates or None in counts:
        return None
    return sum(rate * n for rate, n in zip(rates, counts, strict=True) if rate and n) / 1e6


def describe(error: Exception) -> str:
    """Keep at most 500 characters that Postgres can store."""
    return storable(str(error), 500)
