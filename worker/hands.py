"""What one worker process holds: its leases, kept alive, and who must let go."""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from typing import Literal
from uuid import UUID

from db.pool import OUTAGES, Pool
from db.settings import Settings
from db.slices import Claim, renew_leases
from worker.telemetry import LOST

Reason = Literal["cancelled", "lost"]


class Held:
    """One slice being executed; `reason` says why its task was cancelled, if it was."""

    def __init__(self, claim: Claim, task: asyncio.Task[None]) -> None:
        self.claim, self.task = claim, task
        self.reason: Reason | None = None

    def stop(self, reason: Reason) -> None:
        if self.reason is None and not self.task.done():
            self.reason = reason
            LOST.inc(reason == "lost")
            self.task.cancel()


class Hands:
    """Every slice of this process, by id."""

    def __init__(self, pool: Pool, settings: Settings, owner: str) -> None:
        self.pool, self.settings, self.owner = pool, settings, owner
        self.stopping = asyncio.Event()
        self._held: dict[UUID, Held] = {}

    @contextmanager
    def hold(self, claim: Claim, task: asyncio.Task[None]) -> Generator[Held]:
        held = Held(claim, task)
        self._held[claim.slice_id] = held
        if claim.cancelled:
            held.stop("cancelled")
        try:
            yield held
        finally:
            del self._held[claim.slice_id]

    def cancel_run(self, run_id: UUID) -> None:
        """Stop every slice of a run; closes its provider connections."""
        for held in self._held.values():
            if held.claim.run_id == run_id:
                held.stop("cancelled")

    @property
    def busy(self) -> int:
        return len(self._held)

    async def keep(self) -> None:
        """Renew all leases in one statement each heartbeat, until cancelled."""
        while True:
            await asyncio.sleep(self.settings.heartbeat_s)
            try:
                await self._renew()
            except OUTAGES:
                continue  # nobody else can claim either while Postgres is away

    async def _renew(self) -> None:
        before = dict(self._held)
        if not before:
            return
        pairs = [(held.claim.slice_id, held.claim.epoch) for held in before.values()]
        kept = {r.slice_id: r for r in await renew_leases(self.pool, pairs, self.settings.lease_s)}
        for slice_id, held in before.items():
            if slice_id not in kept:
                held.stop("lost")
            elif kept[slice_id].cancelled:
                held.stop("cancelled")
