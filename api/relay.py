"""From one pub/sub connection per process to every open stream: each event is encoded once.

A run's channel is contiguous: what pub/sub lost is read from the table, by one query for all who
watch. A reader that falls behind is closed; it reconnects and replays.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final
from uuid import UUID

import msgspec

from api.frames import Frames
from db.bus import channel, decode_batch
from db.events import list_events
from db.pool import OUTAGES, Pool
from db.queue import REDIS_DOWN, Redis, next_message

log: Final = logging.getLogger("assay.api")
BACKLOG: Final = 512  # batches one reader may be behind
CATCH_UP_S: Final = 2.0  # bounds a lost PUBLISH
DEAF_CATCH_UP_S: Final = 0.3  # while Redis is away
SILENCE_S: Final = 10.0  # then a heartbeat; clients give up after 30 s
STALL_S: Final = 10.0  # how long one write may wait for its reader
GOODBYE_S: Final = 0.5  # and once the stream is to end


class Subscriber:
    """One open stream: batches wait here, joined into one write when the reader comes back.

    No timer per stream: the hub nudges those that were silent for long, and cuts those whose
    reader takes nothing any more.
    """

    __slots__ = ("_waiter", "closed", "silent_since", "stalled", "stop", "waiting", "writing")

    def __init__(self) -> None:
        self.waiting: deque[Frames] = deque()
        self.closed = False
        self.silent_since = time.monotonic()
        self.writing = False
        self.stalled = False
        self.stop: Callable[[], object] | None = None
        self._waiter: asyncio.Future[None] | None = None

    def push(self, frames: Frames) -> None:
        if len(self.waiting) >= BACKLOG:
            self.close()
            return
        self.waiting.append(frames)
        self.nudge()

    def close(self) -> None:
        self.closed = True
        self.nudge()

    @property
    def patience_s(self) -> float:
        """How long a write may wait for the reader."""
        if self.stalled:
            return 0
        return GOODBYE_S if self.closed else STALL_S

    def cut(self) -> None:
        """End the stream though a write still waits for its reader."""
        self.closed = self.stalled = True
        if self.stop is not None:
            self.stop()

    def nudge(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self) -> None:
        """Wait until something came, the stream was closed, or it was silent for long."""
        if not self.waiting and not self.closed:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter


class Channel:
    """Everybody who watches one run."""

    def __init__(self, run_id: UUID) -> None:
        self.run_id = run_id
        self.subscribers: set[Subscriber] = set()
        self.last: int | None = None  # number of the last event handed on

    def feed(self, frames: Frames) -> bool:
        """Hand on what is new; False when something before it is missing."""
        if self.last is not None and frames.first > self.last + 1:
            return False
        fresh = frames.after(self.last or 0)
        if fresh:
            self.last = fresh.last
            for subscriber in self.subscribers:
                subscriber.push(fresh)
        return True


class Hub:
    """One per process; `run` keeps it listening."""

    def __init__(self, pool: Pool, redis: Redis) -> None:
        self._pool, self._redis = pool, redis
        self._pubsub = redis.pubsub(ignore_subscribe_messages=True)
        self._channels: dict[bytes, Channel] = {}
        self._closing = False
        self._listening = False
        self._catching_up = asyncio.Event()

    @property
    def streams(self) -> int:
        return sum(len(channel.subscribers) for channel in self._channels.values())

    async def join(self, run_id: UUID) -> Subscriber:
        """Start to receive a run's events; read the table afterwards for what came before."""
        name = channel(run_id).encode()
        subscriber = Subscriber()
        if self._closing:
            subscriber.close()
        watched = self._channels.get(name)
        if watched is None:
            watched = self._channels[name] = Channel(run_id)
            watched.subscribers.add(subscriber)  # before the wait: nobody may leave it empty
            with suppress(*REDIS_DOWN):
                await self._pubsub.subscribe(name.decode())
        watched.subscribers.add(subscriber)
        return subscriber

    def seen(self, run_id: UUID, seq: int) -> None:
        """Say where a reader's replay ended: a channel that heard nothing yet goes on from there."""
        watched = self._channels.get(channel(run_id).encode())
        if watched is not None and watched.last is None:
            watched.last = seq

    async def leave(self, run_id: UUID, subscriber: Subscriber) -> None:
        name = channel(run_id).encode()
        watched = self._channels.get(name)
        if watched is None:
            return
        watched.subscribers.discard(subscriber)
        if not watched.subscribers:
            del self._channels[name]
            if not self._closing:  # else the client may be closed already, and would reconnect
                with suppress(*REDIS_DOWN):
                    await self._pubsub.unsubscribe(name.decode())

    def close(self) -> None:
        """End every stream: the process stops, its clients come back elsewhere."""
        self._closing = True
        for subscriber in self._everybody():
            (subscriber.cut if subscriber.writing else subscriber.close)()

    async def run(self) -> None:
        """Listen and catch up until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._listen())
            group.create_task(self._catch_up())
            group.create_task(self._nudge())

    async def _listen(self) -> None:
        while True:
            try:
                if not self._pubsub.subscribed:
                    await asyncio.sleep(0.05)
                    self._listening = True
                    continue
                message = await next_message(self._pubsub, 5)
                self._listening = True
            except REDIS_DOWN as error:
                log.warning("not hearing events: %s", error)
                self._listening = False
                await asyncio.sleep(0.2)
                continue
            if message and (watched := self._channels.get(message[0])):
                self._hear(watched, message[1])

    def _hear(self, watched: Channel, payload: bytes) -> None:
        """Hand a published batch on; what cannot be read, or follows a hole, is in the table."""
        try:
            heard = watched.feed(Frames(decode_batch(payload)))
        except (msgspec.MsgspecError, IndexError) as error:
            log.warning("not a batch of events on %s: %s", watched.run_id, error)
            heard = False
        if not heard:
            self._catching_up.set()

    async def _nudge(self) -> None:
        """Wake the streams that had nothing to say for SILENCE_S; cut those that are stuck."""
        while True:
            await asyncio.sleep(1)
            now = time.monotonic()
            for subscriber in self._everybody():
                if subscriber.writing and subscriber.silent_since < now - subscriber.patience_s:
                    subscriber.cut()
                elif subscriber.silent_since < now - SILENCE_S + 1:
                    subscriber.nudge()

    async def _catch_up(self) -> None:
        """Read what was missed, for each watched run at once."""
        while True:
            pause = CATCH_UP_S if self._listening else DEAF_CATCH_UP_S
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._catching_up.wait()
            self._catching_up.clear()
            for watched in tuple(self._channels.values()):
                with suppress(*OUTAGES):
                    await self._read(watched)

    async def _read(self, watched: Channel) -> None:
        """Hand on what follows the last event; where that one is gone, so is the run."""
        if watched.last is None:
            return
        events = await list_events(self._pool, watched.run_id, watched.last - 1)
        if not events:
            for subscriber in watched.subscribers:
                subscriber.close()
        while events:
            watched.feed(Frames(events))
            events = await list_events(self._pool, watched.run_id, watched.last)

    def _everybody(self) -> Iterable[Subscriber]:
        return [s for watched in self._channels.values() for s in watched.subscribers]
