"""What keeps runs moving when something was lost: leases, rings, settlements, cancels."""

import logging
import time
from typing import Final, NamedTuple
from uuid import UUID

from db.bus import publish
from db.domain.lifecycle import POISON_CRASHES
from db.pool import OUTAGES, Pool
from db.queue import Doorbell
from db.settings import Settings
from db.settle import settle_run
from db.slices import abandoned_runs, expire_leases, pick_slices, poisoned_runs, unheard_slices

log: Final = logging.getLogger("assay.scheduler")
CANCEL_GRACE_S: Final = 1.2  # a worker that heard settles within milliseconds
UNHEARD_S: Final = 5.0
WINDOW: Final = 500  # slices rung at most per tick


class Floor(NamedTuple):
    """What upkeep stands on."""

    pool: Pool
    bell: Doorbell
    settings: Settings


class Pace:
    """Leases may be expired only while we watched: after an outage of Postgres every holder

    first gets one lease's time to renew.
    """

    def __init__(self, lease_s: float) -> None:
        self._lease_s = lease_s
        self._patient_until = time.monotonic() + lease_s

    def interrupted(self) -> None:
        self._patient_until = time.monotonic() + self._lease_s

    @property
    def may_expire(self) -> bool:
        return time.monotonic() >= self._patient_until


async def tick(floor: Floor, pace: Pace) -> None:
    """One round, all of it idempotent: any number of schedulers may do it at once."""
    if pace.may_expire:
        await _recover(floor)
    await _settle_abandoned(floor)
    await _ring(floor)


async def _recover(floor: Floor) -> None:
    for lost in await expire_leases(floor.pool):
        log.warning(
            "slice %s of run %s lost its worker (%d in a row)",
            lost.slice_id, lost.run_id, lost.crash_count,
        )  # fmt: skip
    for run_id in await poisoned_runs(floor.pool, POISON_CRASHES):
        text = f"The run killed {POISON_CRASHES} workers in a row without finishing a sample."
        await _settle(floor, run_id, error={"code": "POISON", "message": text})


async def _settle_abandoned(floor: Floor) -> None:
    for run in await abandoned_runs(floor.pool, CANCEL_GRACE_S):
        await _settle(floor, run.run_id, cancelled=run.cancelled)


async def _settle(
    floor: Floor, run_id: UUID, *, cancelled: bool = False, error: dict[str, str] | None = None
) -> None:
    try:
        told = await settle_run(floor.pool, run_id, cancelled=cancelled, error=error)
    except OUTAGES:
        raise
    except Exception:  # one run that cannot be settled must not stop all others
        log.exception("run %s cannot be settled", run_id)
        return
    if told:
        await publish(floor.bell.redis, run_id, (told,))


async def _ring(floor: Floor) -> None:
    waiting = await pick_slices(floor.pool, floor.settings.user_concurrency, WINDOW)
    unheard = await unheard_slices(floor.pool, UNHEARD_S)
    await floor.bell.ring_many((*waiting, *unheard))
