"""The event log of a run, read by position."""

from typing import Final
from uuid import UUID

from db.bus import Told
from db.statements import Executor, load

SQL: Final = load("events")
PAGE: Final = 1000


async def list_events(
    db: Executor, run_id: UUID, after: int, limit: int = PAGE
) -> tuple[Told, ...]:
    """Give the events that follow number `after`, in order, at most `limit`."""
    rows = await SQL["list_events"].many(db, run_id, after, limit)
    return tuple(Told(row["seq"], row["type"], row["data"]) for row in rows)
