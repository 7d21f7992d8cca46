"""What a finished run says in short: one row per model and context tier."""

from collections.abc import Iterable, Sequence
from itertools import chain

import msgspec

from db.domain.plan import PlannedSample, make_plan
from db.domain.specs import BenchmarkSpec
from db.domain.statistics import Aggregate, aggregate


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a stored sample that summaries need."""

    key: int
    ok: bool
    ttft_ms: float | None = None
    total_ms: float | None = None
    tpot_ms: float | None = None
    tps: float | None = None
    input_tps: float | None = None
    output_tps: float | None = None
    itl_ms: Sequence[float] | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: float | None = None
    attempts: int = 1
    error_code: str | None = None


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One model at one context tier; aggregates are over successes, None without any."""

    provider: str
    model: str
    model_id: str
    context_tokens: int
    planned: int
    ok: int
    failed: int
    retried: int
    errors: dict[str, int]
    ttft_ms: Aggregate | None
    total_ms: Aggregate | None
    tpot_ms: Aggregate | None
    itl_ms: Aggregate | None
    tps: Aggregate | None
    output_tps: Aggregate | None
    input_tps: Aggregate | None
    output_tokens: Aggregate | None
    input_tokens: Aggregate | None
    cost_usd: float | None


class BenchmarkSummary(msgspec.Struct, frozen=True, kw_only=True):
    """`schema_version` 2: means over successes with spread, percentiles and n."""

    rows: tuple[Row, ...]
    planned: int
    done: int
    failed: int
    skipped: int
    cost_usd: float | None
    schema_version: int = 2


def summarize_benchmark(spec: BenchmarkSpec, samples: Iterable[Measured]) -> BenchmarkSummary:
    """Group the samples as they were planned and aggregate each group."""
    plan = make_plan(spec)
    by_key = {sample.key: sample for sample in samples}
    cells: dict[tuple[int, int], list[PlannedSample]] = {}
    for planned in plan.samples:
        cells.setdefault((planned.target, planned.tier), []).append(planned)
    done = [by_key[p.key] for p in plan.samples if p.key in by_key]
    return BenchmarkSummary(
        rows=tuple(
            _row(spec, target, tier, len(cell), [by_key[p.key] for p in cell if p.key in by_key])
            for (target, tier), cell in cells.items()
        ),
        planned=len(plan.samples),
        done=len(done),
        failed=sum(not sample.ok for sample in done),
        skipped=len(plan.skipped),
        cost_usd=_total([sample.cost_usd for sample in done]),
    )


def _row(
    spec: BenchmarkSpec, target_index: int, tier: int, planned: int, done: list[Measured]
) -> Row:
    target = spec.targets[target_index]
    good = [sample for sample in done if sample.ok]
    return Row(
        provider=target.provider_name,
        model=target.display_name,
        model_id=target.model_id,
        context_tokens=tier,
        planned=planned,
        ok=len(good),
        failed=len(done) - len(good),
        retried=sum(sample.attempts > 1 for sample in done),
        errors=_count(sample.error_code for sample in done if not sample.ok),
        ttft_ms=_over(good, "ttft_ms"),
        total_ms=_over(good, "total_ms"),
        tpot_ms=_over(good, "tpot_ms"),
        itl_ms=aggregate(list(chain.from_iterable(sample.itl_ms or () for sample in good))),
        tps=_over(good, "tps"),
        output_tps=_over(good, "output_tps"),
        input_tps=_over(good, "input_tps"),
        output_tokens=_over(good, "output_tokens"),
        input_tokens=_over(good, "input_tokens"),
        cost_usd=_total([sample.cost_usd for sample in done]),
    )


def _over(samples: list[Measured], field: str) -> Aggregate | None:
    values = (getattr(sample, field) for sample in samples)
    return aggregate([float(value) for value in values if value is not None])


def _count(codes: Iterable[str | None]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for code in codes:
        counts[code or "UNKNOWN"] = counts.get(code or "UNKNOWN", 0) + 1
    return counts


def _total(costs: list[float | None]) -> float | None:
    known = [cost for cost in costs if cost is not None]
    return sum(known) if known else None
