"""Limits of a provider that all workers share, kept in Redis; without Redis each worker's own."""

from collections.abc import Sequence
from typing import Final

from db.queue import REDIS_DOWN, Redis, script

TTL_MS: Final = 30_000
PAUSE: Final = "assay:pause"


class SharedLimits:
    """Permits (calls in flight), rate (calls per second) and pauses (Retry-After)."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self._permit = script(redis, "permit")
        self._rate = script(redis, "rate")

    async def lease(self, provider: str, limit: int, names: Sequence[str]) -> int | None:
        """Lease permits under these names; how many were granted, None when Redis is away."""
        try:
            return int(await self._permit(keys=[_permits(provider)], args=[limit, TTL_MS, *names]))
        except REDIS_DOWN:
            return None

    async def renew(self, provider: str, names: Sequence[str]) -> None:
        """Keep permits for another TTL."""
        try:
            seconds, micros = await self.redis.time()
            until = seconds * 1000 + micros // 1000 + TTL_MS
            kept: dict[str, float] = dict.fromkeys(names, float(until))
            await self.redis.zadd(_permits(provider), kept, xx=True)  # pyright: ignore[reportArgumentType]
        except REDIS_DOWN:
            return

    async def give_back(self, provider: str, names: Sequence[str]) -> None:
        try:
            await self.redis.zrem(_permits(provider), *names)
        except REDIS_DOWN:
            return

    async def wait_s(self, provider: str, per_second: float) -> float:
        """Book the next call under the shared rate; how long to wait for it, in seconds."""
        try:
            key = f"assay:rate:{provider}"
            return int(await self._rate(keys=[key], args=[round(1e6 / per_second)])) / 1e6
        except REDIS_DOWN:
            return 1 / per_second

    async def pause(self, provider: str, seconds: float) -> None:
        """Tell every worker that the provider asked for silence."""
        try:
            await self.redis.publish(PAUSE, f"{provider} {seconds:.3f}")
        except REDIS_DOWN:
            return


def _permits(provider: str) -> str:
    return f"assay:permits:{provider}"
