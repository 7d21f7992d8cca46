"""The way in: a run is committed first, then rung; and the way out by cancel."""

from contextlib import suppress
from typing import Final, NamedTuple
from uuid import UUID, uuid4

from db.bus import publish
from db.domain.errors import RunNotFound, RunNotRunning
from db.domain.events import encode
from db.domain.lifecycle import TERMINAL
from db.domain.specs import Spec
from db.pool import Pool
from db.queue import Doorbell, Ring
from db.runs import SQL, delete_run, fetch_run
from db.settle import settle_run

INTERACTIVE: Final = 0


class NewRun(NamedTuple):
    """What a dialect asks for; `planned` samples are cut into `slices`."""

    owner_id: UUID
    spec: Spec
    planned: int
    visibility: str
    slices: int = 1
    priority: int = INTERACTIVE


async def submit(pool: Pool, bell: Doorbell, new: NewRun, *, user_cap: int) -> UUID:
    """Commit a run with its slices and first event, ring those whose turn it is, answer its id.

    Redis may be away: the scheduler rings what nobody heard.
    """
    run_id = uuid4()
    kind = str(new.spec.__struct_config__.tag)
    slices = await SQL["insert_run"].many(
        pool, run_id, new.owner_id, kind, new.visibility, new.priority,
        encode(new.spec), new.planned, new.slices, user_cap,
    )  # fmt: skip
    await bell.ring(Ring(row["id"], 0) for row in slices if row["rung"])
    return run_id


async def cancel(pool: Pool, bell: Doorbell, run_id: UUID, owner: UUID) -> None:
    """Stop a run: at once when nobody works on it, else its worker is told.

    Raises RunNotFound, and RunNotRunning when the run is over.
    """
    row = await SQL["request_cancel"].maybe(pool, run_id, owner)
    if row is None:
        raise RunNotFound
    if row["state"] in TERMINAL:
        raise RunNotRunning
    if row["held"]:
        await bell.cancel(run_id)
    elif told := await settle_run(pool, run_id, cancelled=True):
        await publish(bell.redis, run_id, (told,))


async def remove(pool: Pool, bell: Doorbell, run_id: UUID, owner: UUID) -> None:
    """Delete a run with all that hangs on it; a queued one is cancelled first, and never starts.

    Raises RunNotFound, and RunStillRunning.
    """
    run = await fetch_run(pool, run_id, owner)
    if run.state == "queued":
        with suppress(RunNotFound, RunNotRunning):
            await cancel(pool, bell, run_id, owner)
    await delete_run(pool, run_id, owner)
