"""Samples and attempts as stored; one statement writes a whole batch, once."""

from typing import Any, Final, NamedTuple
from uuid import UUID

import asyncpg
import msgspec

from db.domain.errors import LeaseLost
from db.domain.summaries import Measured
from db.statements import Executor, load

SQL: Final = load("samples")


class Batch(NamedTuple):
    """JSON arrays of what a worker has to write; `number` counts from 1 within the epoch."""

    slice_id: UUID
    epoch: int
    number: int
    samples: bytes
    attempts: bytes
    events: bytes


async def record_batch(db: Executor, batch: Batch) -> int | None:
    """Write a batch and answer the event number before its first, None if it was in already.

    Raises LeaseLost when the slice has another holder, or none.
    """
    row = await SQL["record_batch"].maybe(db, *batch)
    if row:
        return row["before"]
    held = await SQL["holds_slice"].maybe(db, batch.slice_id, batch.epoch)
    if held is None or held["last_batch"] < batch.number:
        raise LeaseLost
    return None


async def list_keys(db: Executor, run_id: UUID) -> frozenset[int]:
    """Give the keys of the samples a run has already."""
    return frozenset(row["key"] for row in await SQL["list_keys"].many(db, run_id))


async def list_measures(db: Executor, run_id: UUID) -> tuple[Measured, ...]:
    rows = await SQL["list_measures"].many(db, run_id)
    return tuple(_measured(row) for row in rows)


async def list_samples(
    db: Executor, run_id: UUID, after: int = -1, limit: int = 1000
) -> tuple[dict[str, Any], ...]:
    """Give samples in plan order, each with every column."""
    rows = await SQL["list_samples"].many(db, run_id, after, limit)
    return tuple(dict(row) for row in rows)


async def list_attempts(
    db: Executor, run_id: UUID, first: int, last: int
) -> tuple[dict[str, Any], ...]:
    """Give the attempts behind the samples `first` to `last`."""
    rows = await SQL["list_attempts"].many(db, run_id, first, last)
    return tuple(dict(row) for row in rows)


def _measured(row: asyncpg.Record) -> Measured:
    return msgspec.convert(dict(row), Measured)
