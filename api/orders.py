"""From an order sheet to a committed run."""

from typing import Final
from uuid import UUID

from api.auth import Caller
from api.deps import Floor
from api.sheets import BenchmarkSheet, planned
from db.domain.errors import Invalid
from db.submit import NewRun, submit

VISIBILITY: Final = {"open": "unlisted", "required": "private"}


async def start_run(floor: Floor, caller: Caller, sheet: BenchmarkSheet) -> UUID:
    """Submit a benchmark; raise Invalid before anything is written."""
    spec = sheet.spec()
    count = planned(spec)
    if not count:
        raise Invalid("context_tiers: every tier exceeds the models' context windows")
    visibility = sheet.visibility or VISIBILITY[floor.settings.auth]
    new = NewRun(caller.id, spec, count, visibility)
    return await submit(floor.pool, floor.bell, new, user_cap=floor.settings.user_concurrency)
