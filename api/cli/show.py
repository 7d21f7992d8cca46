"""Tables for people: results, runs, samples and plans."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from api.cli.views import Detail, Item
from db.domain.statistics import Aggregate
from db.domain.summaries import BenchmarkSummary, Row


def table(*columns: str, left: int = 1, caption: str | None = None) -> Table:
    """Make an empty table whose first `left` columns are text, the others numbers."""
    made = Table(
        box=SIMPLE_HEAD, pad_edge=False, show_edge=False, caption=caption, caption_justify="left"
    )
    for place, column in enumerate(columns):
        text = place < left
        made.add_column(
            column, justify="left" if text else "right", overflow="fold", no_wrap=not text
        )
    return made


def results(summary: BenchmarkSummary) -> Table:
    """Show one row per model and context tier."""
    made = table(
        "\nmodel", "context\ntokens", "\nok", "TTFT ms\np50/p95", "ITL ms\np50/p95",
        "TPOT\nms p50", "tokens/s\nmean ± sd", "output\ntok/s", "cost\nUSD",
        caption=total(summary),
    )  # fmt: skip
    for row in summary.rows:
        made.add_row(*_result(row))
    return made


def total(summary: BenchmarkSummary) -> str:
    counts = sum((Counter(row.errors) for row in summary.rows), Counter[str]())
    why = f" ({errors(counts)})" if counts else ""
    skipped = f", {summary.skipped} tiers skipped" if summary.skipped else ""
    cost = f", {dollars(summary.cost_usd)} USD" if summary.cost_usd is not None else ""
    return (
        f"{summary.done} of {summary.planned} samples, {summary.failed} failed{why}{skipped}{cost}"
    )


def _result(row: Row) -> Sequence[str]:
    return (
        row.model_id,
        str(row.context_tokens),
        f"{row.ok}/{row.ok + row.failed}",
        pair(row.ttft_ms),
        pair(row.itl_ms),
        number(row.tpot_ms.p50 if row.tpot_ms else None),
        spread(row.tps),
        number(row.output_tps.mean if row.output_tps else None),
        dollars(row.cost_usd),
    )


def runs(items: Iterable[Item]) -> Table:
    made = table("run", "kind", "status", "models", "samples", "failed", "created", left=4)
    for item in items:
        done = f"{item.progress.done}/{item.progress.planned}"
        made.add_row(
            item.run_id[:8], item.kind, item.status, item.model, done, str(item.progress.failed),
            when(item.created_at),
        )  # fmt: skip
    return made


def facts(run: Detail) -> list[str]:
    """Say in lines what a run is and how far."""
    lines = {
        "run": run.run_id,
        "kind": run.kind,
        "models": run.model,
        "status": run.status,
        "samples": f"{run.progress.done} of {run.progress.planned}, {run.progress.failed} failed",
        "created": when(run.created_at),
        "took": f"{run.progress.elapsed_s:.1f} s" if run.progress.elapsed_s is not None else "",
        "error": f"{run.error} ({run.error_code})" if run.error else "",
    }
    return [f"{name:<8} {value}" for name, value in lines.items() if value]


def samples(rows: Iterable[Mapping[str, Any]]) -> Table:
    made = table(
        "key", "model", "context", "run", "TTFT ms", "total ms", "TPOT ms", "tokens/s", "in", "out",
        "tries", left=2,
    )  # fmt: skip
    made.add_column("error", overflow="fold")
    for row in rows:
        made.add_row(
            str(row["key"]), str(row["model_id"]), str(row["context_tokens"]), str(row["ordinal"]),
            *(number(row[name]) for name in ("ttft_ms", "total_ms", "tpot_ms", "tps")),
            str(row["input_tokens"] or ""), str(row["output_tokens"] or ""), str(row["attempts"]),
            ": ".join(filter(None, (row["error_code"], row["error"]))),
        )  # fmt: skip
    return made


def number(value: float | None) -> str:
    """Write three digits or more, never a false one behind them."""
    if value is None:
        return "-"
    return (
        f"{value:.0f}"
        if abs(value) >= 1000
        else f"{value:.1f}"
        if abs(value) >= 100
        else f"{value:.2f}"
    )


def pair(aggregate: Aggregate | None) -> str:
    return f"{number(aggregate.p50)}/{number(aggregate.p95)}" if aggregate else "-"


def spread(aggregate: Aggregate | None) -> str:
    if aggregate is None:
        return "-"
    more = "" if aggregate.stdev is None else f" ± {number(aggregate.stdev)}"
    return number(aggregate.mean) + more


def dollars(value: float | None) -> str:
    return "-" if value is None else f"{value:.6f}"


def errors(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {code}" for code, count in sorted(counts.items()))


def when(text: str) -> str:
    """Drop what no person reads of a time stamp."""
    return text[:19].replace("T", " ") + "Z" if text else ""
