"""The path of one slice: claim -> perform -> settle. Nothing else catches `Exception`."""

import asyncio
import logging
from contextlib import suppress
from typing import Final, NamedTuple, cast
from uuid import UUID

from db.bus import publish
from db.domain.errors import AppError, LeaseLost
from db.pool import OUTAGES
from db.queue import Doorbell
from db.samples import list_keys
from db.settle import settle_run
from db.slices import Claim, claim_slice, finish_slice, pick_slices, release_slice
from worker.ask import Asker
from worker.hands import Hands, Held
from worker.progress import Progress
from worker.runs.job import Job
from worker.runs.table import JOBS

log: Final = logging.getLogger("assay.worker")
PATIENCE_S: Final = (0.0, 0.2, 1.0)  # a stopping worker tries so often to hand back
SWALLOWED_S: Final = 1.0


class Body(NamedTuple):
    """What a worker process executes slices with."""

    hands: Hands
    bell: Doorbell
    asker: Asker


async def execute_slice(body: Body, slice_id: UUID) -> None:
    """Execute a slice if it is still to be had; every end is settled in Postgres."""
    hands = body.hands
    if hands.stopping.is_set():
        return
    claim = await claim_slice(hands.pool, slice_id, hands.owner, hands.settings.lease_s)
    if claim is None:
        return
    await publish(body.bell.redis, claim.run_id, claim.told)
    progress = Progress(hands.pool, body.bell.redis, claim, hands.settings.flush_s)
    task = asyncio.create_task(_perform(body, claim, progress))
    with hands.hold(claim, task) as held:
        try:
            await asyncio.wait({task})
            await _settle(body, held, progress)
        except asyncio.CancelledError:
            await _abandon(body, task, claim, progress)
            raise


async def _perform(body: Body, claim: Claim, progress: Progress) -> None:
    """Run the kind's executor with a writer beside it; a lost lease ends both."""
    done = await list_keys(body.hands.pool, claim.run_id)
    job = Job(
        claim, claim.spec, done, body.asker.for_claim(claim), progress, body.hands.stopping
    )  # fmt: skip
    kind = str(claim.spec.__struct_config__.tag)
    writer = asyncio.create_task(progress.run())
    performer = asyncio.create_task(_as_coroutine(job, kind))
    try:
        await asyncio.wait({writer, performer}, return_when=asyncio.FIRST_COMPLETED)
        if writer.done():
            writer.result()
        await performer
    finally:
        await _end(performer, writer)  # at once: a cancel may come while we wait


async def _as_coroutine(job: Job, kind: str) -> None:
    await JOBS[kind](job)


async def _settle(body: Body, held: Held, progress: Progress) -> None:
    """Write what is left, then end the slice the way its task ended."""
    claim, error = held.claim, _failure(held)
    try:
        if held.reason != "lost":
            await progress.flush()
        match held.reason, error:
            case ("lost", _) | (_, LeaseLost()):
                log.warning("lease of slice %s lost", claim.slice_id)
            case "cancelled", _:
                await _finish(body, claim, cancelled=True)
            case None, None if body.hands.stopping.is_set():
                await _hand_back_or_finish(body, claim)
            case None, None:
                await _complete(body, claim)
            case _:
                await _fail(body, claim, error)
    except LeaseLost:
        log.warning("lease of slice %s lost", claim.slice_id)


def _failure(held: Held) -> BaseException | None:
    if held.task.cancelled():
        return None if held.reason else asyncio.CancelledError("by its own executor")
    return innermost(held.task.exception())


def innermost(error: BaseException | None) -> BaseException | None:
    """Unwrap a task group's first failure."""
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    return error


async def _complete(body: Body, claim: Claim) -> None:
    last = await finish_slice(body.hands.pool, claim.slice_id, claim.epoch)
    if last:
        await _finish(body, claim)
    await _ring_next(body)


async def _finish(
    body: Body, claim: Claim, *, cancelled: bool = False, error: dict[str, str] | None = None
) -> None:
    told = await settle_run(body.hands.pool, claim.run_id, cancelled=cancelled, error=error)
    if told:
        await publish(body.bell.redis, claim.run_id, (told,))


async def _fail(body: Body, claim: Claim, error: BaseException | None) -> None:
    """An executor's own failure: worded for the user if it was foreseen, logged if it was not."""
    if isinstance(error, OUTAGES):
        log.warning("slice %s gives up: %s", claim.slice_id, error)
        return  # the lease runs out and another worker takes over
    if isinstance(error, AppError):
        failure = {"code": error.code, "message": str(error)}
    else:
        log.error("run %s failed", claim.run_id, exc_info=error)
        failure = {"code": "SERVER_ERROR", "message": "The run failed unexpectedly."}
    await _finish(body, claim, error=failure)


async def _hand_back_or_finish(body: Body, claim: Claim) -> None:
    """A stopping worker completes what happens to be whole, and hands back the rest."""
    done = await list_keys(body.hands.pool, claim.run_id)
    if len(done) >= claim.planned:
        await _complete(body, claim)
    else:
        await _hand_back(body, claim)


async def _hand_back(body: Body, claim: Claim) -> None:
    ring = await release_slice(body.hands.pool, claim.slice_id, claim.epoch)
    await body.bell.ring((ring,))


async def _abandon(body: Body, task: asyncio.Task[None], claim: Claim, progress: Progress) -> None:
    """We were cancelled from outside: close what is open and give the slice back.

    A second cancel changes nothing; whoever cannot wait kills the process, and the lease runs out.
    """
    await _end(task)
    giving_up = asyncio.create_task(_give_up(body, claim, progress))
    while not giving_up.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait({giving_up})
    giving_up.result()


async def _give_up(body: Body, claim: Claim, progress: Progress) -> None:
    for pause_s in PATIENCE_S:
        await asyncio.sleep(pause_s)
        try:
            await progress.flush()
            return await _hand_back(body, claim)
        except LeaseLost:
            return None
        except OUTAGES as error:
            log.warning("slice %s is not handed back yet: %s", claim.slice_id, error)
    return None


async def _ring_next(body: Body) -> None:
    """A slot is free: ring whoever waits for his turn, without waiting for the scheduler."""
    settings = body.hands.settings
    with suppress(*OUTAGES):
        rings = await pick_slices(body.hands.pool, settings.user_concurrency, settings.slots)
        await body.bell.ring(rings)


async def _end(*tasks: asyncio.Task[None]) -> None:
    """Cancel tasks until they are over: a library may swallow a cancel."""
    while left := {task for task in tasks if not task.done()}:
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=SWALLOWED_S)
