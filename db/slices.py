"""Slices: what one worker holds at a time, under a lease with a fencing epoch."""

from collections.abc import Sequence
from typing import Final, NamedTuple
from uuid import UUID

import msgspec

from db.bus import Told
from db.domain.specs import Spec
from db.queue import Ring
from db.statements import Executor, load

SQL: Final = load("slices")
_spec: Final = msgspec.json.Decoder(Spec).decode


class Claim(NamedTuple):
    """A slice that is ours until the lease ends; `told` is the event the claim wrote."""

    slice_id: UUID
    run_id: UUID
    epoch: int
    opened: bool
    cancelled: bool
    spec: Spec
    planned: int
    told: tuple[Told, ...]


class Renewed(NamedTuple):
    slice_id: UUID
    cancelled: bool


class Expired(NamedTuple):
    slice_id: UUID
    run_id: UUID
    crash_count: int


class Abandoned(NamedTuple):
    run_id: UUID
    cancelled: bool


async def claim_slice(db: Executor, slice_id: UUID, owner: str, lease_s: float) -> Claim | None:
    """Take a queued slice; None when it is not to be had."""
    row = await SQL["claim_slice"].maybe(db, slice_id, owner, lease_s)
    if row is None:
        return None
    told = (Told(row["told_seq"], "status", row["told_data"]),) if row["told_seq"] else ()
    return Claim(
        slice_id=row["id"],
        run_id=row["run_id"],
        epoch=row["epoch"],
        opened=row["opened"],
        cancelled=row["cancelled"],
        spec=_spec(row["spec"]),
        planned=row["planned"],
        told=told,
    )


async def renew_leases(
    db: Executor, held: Sequence[tuple[UUID, int]], lease_s: float
) -> tuple[Renewed, ...]:
    """Renew many (slice, epoch) leases at once; what is not answered is lost."""
    ids, epochs = [slice_id for slice_id, _ in held], [epoch for _, epoch in held]
    rows = await SQL["renew_leases"].many(db, ids, epochs, lease_s)
    return tuple(Renewed(row["id"], row["cancelled"]) for row in rows)


async def release_slice(db: Executor, slice_id: UUID, epoch: int) -> Ring:
    """Give a slice back unfinished; the answer is to be rung."""
    await SQL["release_slice"].exec(db, slice_id, epoch)
    return Ring(slice_id, epoch + 1)


async def finish_slice(db: Executor, slice_id: UUID, epoch: int) -> bool | None:
    """Mark a slice done; True when the run has no other left, None when the lease is lost."""
    row = await SQL["finish_slice"].maybe(db, slice_id, epoch)
    return row["last"] if row else None


async def expire_leases(db: Executor) -> tuple[Expired, ...]:
    """Requeue the slices whose holder is gone."""
    rows = await SQL["expire_leases"].many(db)
    return tuple(Expired(row["id"], row["run_id"], row["crash_count"]) for row in rows)


async def pick_slices(db: Executor, user_cap: int, limit: int) -> tuple[Ring, ...]:
    """Choose, fairly between users, which waiting slices are to be rung now."""
    rows = await SQL["pick_slices"].many(db, user_cap, limit)
    return tuple(Ring(row["id"], row["epoch"]) for row in rows)


async def unheard_slices(db: Executor, after_s: float) -> tuple[Ring, ...]:
    """List slices rung more than `after_s` seconds ago that nobody claimed."""
    rows = await SQL["unheard_slices"].many(db, after_s)
    return tuple(Ring(row["id"], row["epoch"]) for row in rows)


async def abandoned_runs(db: Executor, cancel_grace_s: float) -> tuple[Abandoned, ...]:
    """List runs that nobody works on and nobody settled, or whose cancel went unheard."""
    rows = await SQL["abandoned_runs"].many(db, cancel_grace_s)
    return tuple(Abandoned(row["id"], row["cancelled"]) for row in rows)


async def poisoned_runs(db: Executor, crashes: int) -> tuple[UUID, ...]:
    """List runs with a slice that killed its worker `crashes` times in a row."""
    return tuple(row["id"] for row in await SQL["poisoned_runs"].many(db, crashes))
