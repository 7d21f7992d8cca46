"""Who may call a provider now: concurrency, rate and pauses, shared by all workers.

Waiting happens here, before a call is measured. Permits are leased in blocks, so that most calls
cost no round trip.
"""

import asyncio
import itertools
import time
from collections import defaultdict
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

from db.limits import TTL_MS, SharedLimits
from db.settings import Settings

BLOCK: Final = 4
ASK_AGAIN_S: Final = 0.05


class Gate:
    """One per worker process."""

    def __init__(self, limits: SharedLimits, settings: Settings, owner: str) -> None:
        self._limits = limits
        self._settings = settings
        self._owner = owner
        self._numbers = itertools.count()
        self._free: dict[str, list[str]] = defaultdict(list)
        self._used: dict[str, set[str]] = defaultdict(set)
        self._paused_until: dict[str, float] = {}
        self._returned = asyncio.Event()
        self._leasing: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    @asynccontextmanager
    async def enter(self, provider: str) -> AsyncGenerator[float]:
        """Hold one permit; yields how long it took to get it, in seconds."""
        began = time.perf_counter()
        name = await self._permit(provider)
        try:
            await self._wait_for_turn(provider)
            yield time.perf_counter() - began
        finally:
            self._used[provider].discard(name)
            self._free[provider].append(name)
            self._returned.set()

    def pause(self, provider: str, seconds: float) -> None:
        """Let nobody of this process call the provider for a while."""
        until = time.monotonic() + seconds
        self._paused_until[provider] = max(until, self._paused_until.get(provider, 0.0))

    async def pause_everywhere(self, provider: str, seconds: float) -> None:
        self.pause(provider, seconds)
        await self._limits.pause(provider, seconds)

    async def keep(self) -> None:
        """Renew what is used and give back what is not, until cancelled."""
        while True:
            await asyncio.sleep(TTL_MS / 3000)
            for provider, names in tuple(self._used.items()):  # new ones come while we wait
                if names:
                    await self._limits.renew(provider, tuple(names))
            await self.give_back()

    async def give_back(self) -> None:
        """Return every permit that nobody uses."""
        for provider, names in tuple(self._free.items()):
            if names:
                idle, self._free[provider] = tuple(names), []
                await self._limits.give_back(provider, idle)

    async def _permit(self, provider: str) -> str:
        while True:
            if free := self._free[provider]:
                name = free.pop()
                self._used[provider].add(name)
                return name
            async with self._leasing[provider]:  # one block at a time: hoard nothing
                if not self._free[provider]:
                    await self._lease_block(provider)

    async def _lease_block(self, provider: str) -> None:
        limit = self._settings.provider_concurrency
        names = [f"{self._owner}:{next(self._numbers)}" for _ in range(BLOCK)]
        granted = await self._limits.lease(provider, limit, names)
        if granted is None:  # Redis is away: this process alone keeps the limit
            granted = min(BLOCK, max(0, limit - len(self._used[provider])))
        self._free[provider] += names[:granted]
        if granted <= 0 and not self._free[provider]:
            self._returned.clear()
            await _wait(self._returned, ASK_AGAIN_S)

    async def _wait_for_turn(self, provider: str) -> None:
        if rate := self._settings.provider_rps:
            await asyncio.sleep(await self._limits.wait_s(provider, rate))
        while left := self._pause_left(provider):  # noqa: ASYNC110 - it may be prolonged meanwhile
            await asyncio.sleep(left)

    def _pause_left(self, provider: str) -> float:
        return max(0.0, self._paused_until.get(provider, 0.0) - time.monotonic())


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
