"""A summary groups samples as planned and aggregates over successes."""

import msgspec
import pytest

from db.domain.catalog import find_target
from db.domain.specs import BenchmarkSpec
from db.domain.summaries import Measured, summarize_benchmark

SPEC = BenchmarkSpec(
    targets=(find_target("sim/fast"), find_target("gpt-4o")), runs=2, context_tiers=(0, 100_000)
)  # keys: sim 0 1, gpt 2 3, gpt at 100K 4 5; sim at 100K is skipped


def good(key, ttft=100.0, **more):
    return Measured(key=key, ok=True, ttft_ms=ttft, **more)


def test_rows_follow_the_plan_and_count_what_is_there():
    summary = summarize_benchmark(
        SPEC,
        [
            good(0, cost_usd=0.1),
            Measured(key=1, ok=False, error_code="PROVIDER_TIMEOUT", attempts=3, ttft_ms=9e9),
            good(2, ttft=300.0, attempts=2),
            good(3, ttft=500.0, cost_usd=0.2),
        ],
    )
    rows = [(r.model_id, r.context_tokens, r.planned, r.ok, r.failed) for r in summary.rows]
    assert rows == [("sim/fast", 0, 2, 1, 1), ("gpt-4o", 0, 2, 2, 0), ("gpt-4o", 100_000, 2, 0, 0)]
    assert (summary.planned, summary.done, summary.failed, summary.skipped) == (6, 4, 1, 1)
    assert summary.cost_usd == pytest.approx(0.3)
    assert summary.schema_version == 2
    first, second, third = summary.rows
    assert first.errors == {"PROVIDER_TIMEOUT": 1}
    assert first.ttft_ms.mean == 100.0, "a failed sample's latency is not averaged"
    assert (first.retried, second.retried) == (1, 1)
    assert second.ttft_ms.mean == 400.0
    assert (third.ttft_ms, third.cost_usd, third.errors) == (None, None, {})


def test_itl_is_one_distribution_over_all_calls_of_a_cell():
    summary = summarize_benchmark(SPEC, [good(0, itl_ms=[1.0, 2.0]), good(1, itl_ms=[3.0])])
    assert (summary.rows[0].itl_ms.n, summary.rows[0].itl_ms.mean) == (3, 2.0)


def test_a_missing_measure_is_left_out_of_its_mean_not_counted_as_zero():
    summary = summarize_benchmark(SPEC, [good(0, tps=None), good(1, tps=10.0)])
    assert (summary.rows[0].tps.n, summary.rows[0].tps.mean) == (1, 10.0)


def test_a_sample_that_was_never_planned_is_not_counted():
    assert summarize_benchmark(SPEC, [good(99)]).done == 0


def test_a_failure_without_a_code_is_counted_as_unknown():
    summary = summarize_benchmark(SPEC, [Measured(key=0, ok=False)])
    assert summary.rows[0].errors == {"UNKNOWN": 1}


def test_a_summary_survives_json():
    summary = summarize_benchmark(SPEC, [good(0, tps=1.0, itl_ms=[1.0])])
    assert msgspec.json.decode(msgspec.json.encode(summary), type=type(summary)) == summary
