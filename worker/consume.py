"""arq's worker with leases: woken at once, survives Redis, loses nothing to a kill -9.

Kept of arq 0.28: key names, job format, `run_job`, hooks. Replaced: the poll loop (one script
claims a batch), the in-progress key (a lease that comes back by itself) and the end of a job
(fenced: only the lease's owner removes it).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, cast
from uuid import UUID

from arq.constants import job_key_prefix, retry_key_prefix
from arq.typing import WorkerCoroutine
from arq.worker import Worker, func
from redis.asyncio.client import PubSub

from db.limits import PAUSE
from db.queue import (
    CANCEL,
    EXECUTE,
    LEASES,
    QUEUE,
    REDIS_DOWN,
    WAKE,
    Redis,
    decode,
    encode,
    next_message,
    script,
)

log: Final = logging.getLogger("assay.queue")
NEVER_S: Final = 7 * 24 * 3600  # deadlines are the executor's business
LONGEST_NAP_S: Final = 1.0  # bounds a lost wake-up
LEASE_MS: Final = 10_000

Execute = Callable[[UUID], Awaitable[None]]
Listener = Callable[[bytes], None]


class LeaseWorker(Worker):
    """Claims doorbell jobs and executes their slices, at most `slots` at a time."""

    def __init__(self, redis: Redis, execute: Execute, owner: str, slots: int) -> None:
        async def execute_slice(ctx: dict[Any, Any], *ids: str) -> None:  # noqa: ARG001 - arq's
            await execute(UUID(ids[0]))

        super().__init__(
            functions=[
                func(
                    cast(WorkerCoroutine, execute_slice),
                    name=EXECUTE,
                    timeout=NEVER_S,
                    max_tries=1_000_000,
                )
            ],
            redis_pool=redis,
            queue_name=QUEUE,
            max_jobs=slots,
            keep_result=0,
            handle_signals=False,
            log_results=False,
            job_serializer=encode,
            job_deserializer=decode,
        )
        self.owner = owner
        self.listeners: dict[bytes, Listener] = {WAKE.encode(): lambda _: self.woken.set()}
        self.woken = asyncio.Event()
        self._claim = script(redis, "claim")
        self._renew = script(redis, "renew")
        self._finish = script(redis, "finish")

    def listen(self, cancel: Callable[[UUID], None], pause: Callable[[str, float], None]) -> None:
        """Say who hears of cancelled runs and of providers that ask for silence."""
        self.listeners[CANCEL.encode()] = lambda data: cancel(UUID(data.decode()))
        self.listeners[PAUSE.encode()] = lambda data: pause(*_pause(data))

    async def main(self) -> None:
        """Claim and execute until cancelled; a Redis outage only pauses it."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._hear())
            group.create_task(self._keep_leases())
            group.create_task(self._claim_loop())

    async def drain(self, patience_s: float) -> None:
        """Claim no more and wait for what runs; what is left after that is cancelled."""
        self.allow_pick_jobs = False
        self.woken.set()
        if self.tasks:
            await asyncio.wait(self.tasks.values(), timeout=patience_s)
        left = [task for task in self.tasks.values() if not task.done()]
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=5)

    async def _claim_loop(self) -> None:
        while True:
            self.woken.clear()
            try:
                wait_s = await self._claim_due()
            except REDIS_DOWN as error:
                log.warning("queue is away: %s", error)
                wait_s = LONGEST_NAP_S
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self.woken.wait()

    async def _claim_due(self) -> float:
        """Start every job that is due and has a slot; how long to sleep when none wakes us."""
        free = self.max_jobs - len(self.tasks)
        if not self.allow_pick_jobs or free <= 0:
            return LONGEST_NAP_S
        ids, next_ms = await self._claim(
            keys=[QUEUE, LEASES], args=[free, LEASE_MS, self.owner]
        )  # fmt: skip
        for job_id in ids:
            self._start(job_id.decode())
        return LONGEST_NAP_S if next_ms < 0 else min(LONGEST_NAP_S, next_ms / 1e3)

    def _start(self, job_id: str) -> None:
        if job_id in self.tasks:  # our own lease ran out while Redis was away
            return
        task = self.loop.create_task(self._run(job_id))
        self.tasks[job_id] = task
        task.add_done_callback(lambda _: self._done(job_id))

    def _done(self, job_id: str) -> None:
        del self.tasks[job_id]
        self.woken.set()

    async def _run(self, job_id: str) -> None:
        try:
            await self.run_job(job_id, 0)
        except REDIS_DOWN as error:
            log.warning("job %s could not be removed: %s", job_id, error)

    async def finish_job(
        self,
        job_id: str,
        finish: bool,  # noqa: FBT001 - arq's signature, as all of these
        result_data: bytes | None,  # noqa: ARG002
        result_timeout_s: float | None,  # noqa: ARG002
        keep_result_forever: bool,  # noqa: ARG002, FBT001
        incr_score: int | None,  # noqa: ARG002
        keep_in_progress: float | None,  # noqa: ARG002
    ) -> None:
        """Remove a finished job, or hand back one that was cancelled."""
        await self._finish(
            keys=[QUEUE, LEASES, job_key_prefix + job_id, retry_key_prefix + job_id],
            args=[job_id, self.owner, "1" if finish else "0", WAKE],
        )

    async def finish_failed_job(self, job_id: str, result_data: bytes | None) -> None:
        await self.finish_job(job_id, True, result_data, None, False, None, None)

    async def _keep_leases(self) -> None:
        while True:
            await asyncio.sleep(LEASE_MS / 3000)
            with suppress(*REDIS_DOWN):
                if self.tasks:
                    await self._renew(
                        keys=[QUEUE, LEASES], args=[LEASE_MS, self.owner, *self.tasks]
                    )

    async def _hear(self) -> None:
        """Listen on one connection; after every reconnect look at the queue once."""
        while True:
            try:
                async with self.pool.pubsub(ignore_subscribe_messages=True) as channels:
                    await channels.subscribe(*self.listeners)
                    self.woken.set()
                    await self._dispatch(channels)
            except REDIS_DOWN as error:
                log.warning("not hearing the queue: %s", error)
                await asyncio.sleep(0.2)

    async def _dispatch(self, channels: PubSub) -> None:
        while True:
            message = await next_message(channels, 5)
            if message and message[0] in self.listeners:
                try:
                    self.listeners[message[0]](message[1])
                except ValueError as error:
                    log.warning("not understood on %s: %s", message[0], error)


def _pause(data: bytes) -> tuple[str, float]:
    provider, seconds = data.decode().rsplit(" ", 1)
    return provider, float(seconds)
