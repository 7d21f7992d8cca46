"""The end of a run: its summary, its last state and its last event, in one transaction."""

from typing import Final
from uuid import UUID

import asyncpg
import msgspec

from db.bus import Told
from db.domain.events import Event, encode, make_event
from db.domain.lifecycle import State
from db.domain.specs import Spec
from db.domain.summaries import BenchmarkSummary, summarize_benchmark
from db.pool import Pool
from db.samples import list_measures
from db.statements import load

SQL: Final = load("settle")
_spec: Final = msgspec.json.Decoder(Spec).decode

Failure = dict[str, str]  # code and message


async def settle_run(
    pool: Pool, run_id: UUID, *, cancelled: bool = False, error: Failure | None = None
) -> Told | None:
    """End a run as cancelled, as failed with `error`, or as its samples say.

    Finished samples are kept and summarised whatever the end. Late writes of any worker are
    refused from then on. Returns the terminal event, None when the run was over already.
    """
    async with pool.acquire() as connection, connection.transaction():
        end: State = "cancelled" if cancelled else "failed" if error else "completed"
        await SQL["fence_slices"].many(connection, run_id, end)
        row = await SQL["lock_run"].maybe(connection, run_id)
        if row is None:
            return None
        summary = await _summarize(connection, row)
        end, failure = _outcome(end, error, summary)
        event = _last_event(run_id, end, failure, summary)
        seq = (await SQL["finish_run"].one(
            connection, run_id, end, encode(summary), encode(failure) if failure else None, *event
        ))["seq"]  # fmt: skip
        return Told(seq, *event)


async def _summarize(
    connection: "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]", row: asyncpg.Record
) -> BenchmarkSummary:
    return summarize_benchmark(_spec(row["spec"]), await list_measures(connection, row["id"]))


def _outcome(
    end: State, error: Failure | None, summary: BenchmarkSummary
) -> tuple[State, Failure | None]:
    """A run whose every sample failed is failed, whatever its executor thought."""
    if end == "completed" and summary.done and summary.failed == summary.done:
        codes = sorted({code for row in summary.rows for code in row.errors})
        text = f"All {summary.done} samples failed: {', '.join(codes)}."
        return "failed", {"code": codes[0], "message": text}
    return end, error


def _last_event(
    run_id: UUID, end: State, failure: Failure | None, summary: BenchmarkSummary
) -> Event:
    counts = {"done": summary.done, "failed": summary.failed, "planned": summary.planned}
    if end == "completed":
        return make_event("complete", saved_to=f"/api/history/{run_id}", run_id=run_id, **counts)
    if end == "cancelled":
        return make_event("cancelled", run_id=run_id, **counts)
    return make_event("error", **(failure or {}), run_id=run_id, **counts)
