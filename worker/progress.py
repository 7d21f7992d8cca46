"""What a worker has to tell: written in batches, committed, then published."""

import asyncio
import time
from typing import Final
from uuid import UUID

from db.bus import Told, publish
from db.domain.events import Event, encode, join_rows
from db.domain.samples import Attempt, Sample
from db.pool import OUTAGES, Pool
from db.queue import Redis
from db.samples import Batch, record_batch
from db.slices import Claim

BATCH: Final = 50
OUTAGE_S: Final = 60.0  # how long finished samples are kept while Postgres is away


class Progress:
    """Buffers one slice's samples and events; `run` writes them until cancelled.

    A batch carries its number, so that one whose acknowledgement was lost is written once.
    """

    def __init__(self, pool: Pool, redis: Redis, claim: Claim, flush_s: float) -> None:
        self._pool, self._redis, self._claim, self._flush_s = pool, redis, claim, flush_s
        self._samples: list[bytes] = []
        self._attempts: list[bytes] = []
        self._events: list[Event] = []
        self._told: list[Told] = []
        self._number = 0
        self._unwritten: tuple[Batch, list[Event]] | None = None
        self._filled = asyncio.Event()
        self._writing = asyncio.Lock()

    def tell(self, *events: Event) -> None:
        self._events += events
        self._filled.set()

    def add(self, sample: Sample, attempts: list[Attempt], *events: Event) -> None:
        """Count a sample; its events are written in the same transaction."""
        self._samples.append(encode(sample))
        self._attempts += map(encode, attempts)
        self.tell(*events)

    async def run(self) -> None:
        """Write what has gathered every `flush_s`; raise LeaseLost when it is refused."""
        while True:
            await self._filled.wait()
            if len(self._samples) < BATCH:
                await asyncio.sleep(self._flush_s)
            await self.flush()

    async def flush(self) -> None:
        """Write all that was told so far; survives an outage of up to OUTAGE_S.

        Cancelling it loses nothing: the next flush sends the same batch again.
        """
        while await self._write_next() or self._told:
            told = tuple(self._told)
            await publish(self._redis, self.run_id, told)
            del self._told[
                : len(told)
            ]  # a cancelled publish is repeated: readers drop what they have

    async def _write_next(self) -> bool:
        """Write one batch and note what is to be published of it; False without anything to write."""
        async with self._writing:
            self._filled.clear()
            if not self._unwritten and not self._events and not self._samples:
                return False
            self._unwritten = self._unwritten or self._take()
            batch, events = self._unwritten
            before = await self._write(batch)
            self._unwritten = None
        if before is not None:  # else it was in already; whoever misses it reads the table
            self._told += [Told(before + i, *event) for i, event in enumerate(events, 1)]
        return True

    @property
    def run_id(self) -> UUID:
        return self._claim.run_id

    def _take(self) -> tuple[Batch, list[Event]]:
        self._number += 1
        events = self._events
        batch = Batch(
            self._claim.slice_id,
            self._claim.epoch,
            self._number,
            join_rows(self._samples),
            join_rows(self._attempts),
            join_rows([event.row() for event in events]),
        )
        self._samples, self._attempts, self._events = [], [], []
        return batch, events

    async def _write(self, batch: Batch) -> int | None:
        deadline = time.monotonic() + OUTAGE_S
        while True:
            try:
                return await record_batch(self._pool, batch)
            except OUTAGES:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.2)
