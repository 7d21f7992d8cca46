"""The doorbell: arq jobs that carry a slice's id and nothing else.

Losing it costs latency, never data: the scheduler rings again what nobody heard.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple, cast
from uuid import UUID

import msgspec
from arq.connections import ArqRedis
from arq.constants import job_key_prefix
from arq.jobs import serialize_job
from redis.asyncio import ConnectionPool
from redis.asyncio.client import Pipeline, PubSub
from redis.exceptions import RedisError

PROTOCOL: Final = 1  # workers of another protocol read another queue
QUEUE: Final = f"arq:queue:assay:{PROTOCOL}"
LEASES: Final = f"{QUEUE}:leases"
WAKE: Final = f"{QUEUE}:wake"
CANCEL: Final = "assay:cancel"
EXECUTE: Final = "execute_slice"
JOB_TTL_MS: Final = 7 * 24 * 3600 * 1000
LUA: Final = Path(__file__).parent / "lua"
ANSWER_S: Final = 1.0  # Redis is away when it takes longer
REDIS_DOWN: Final = (RedisError, OSError, TimeoutError)

Script = Callable[..., Awaitable[Any]]

encode: Final = msgspec.msgpack.Encoder().encode
decode: Final = msgspec.msgpack.Decoder().decode


class Ring(NamedTuple):
    """A slice that waits for a worker, and the epoch it waits in."""

    slice_id: UUID
    epoch: int

    @property
    def job_id(self) -> str:
        return f"{self.slice_id}:{self.epoch}"


@asynccontextmanager
async def _in_time() -> AsyncGenerator[None]:
    try:
        async with asyncio.timeout(ANSWER_S):
            yield
    except TimeoutError:
        raise TimeoutError(f"no answer within {ANSWER_S:g} s") from None


class Batch(Pipeline):
    """A pipeline that is answered in time, or fails."""

    async def execute(self, raise_on_error: bool = True) -> list[Any]:  # noqa: FBT001, FBT002 - redis-py's
        async with _in_time():
            return await super().execute(raise_on_error)


class Redis(ArqRedis):
    """A client that bounds each command with one `asyncio.timeout`.

    redis-py's own `socket_timeout` sends by `asyncio.wait_for`, and that one swallows a cancel
    which comes as it ends (Python 3.11): whoever was to stop goes on. It also costs a task each.
    """

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        async with _in_time():
            return cast(Any, await super().execute_command(*args, **options))

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Batch:  # noqa: FBT001, FBT002 - redis-py's
        pool = cast(ConnectionPool, self.connection_pool)
        return Batch(pool, self.response_callbacks, transaction, shard_hint)


def open_redis(url: str) -> Redis:
    """Make a client; it connects when first used and fails fast when Redis is away."""
    pool = ConnectionPool.from_url(url, socket_connect_timeout=1.0, health_check_interval=10)
    return Redis(
        connection_pool=pool,
        job_serializer=encode,
        job_deserializer=decode,
        default_queue_name=QUEUE,
    )


async def close_redis(redis: Redis) -> None:
    """Close every connection: the pool is ours, so redis-py would leave it open."""
    await redis.aclose(close_connection_pool=True)


def script(redis: Redis, name: str) -> Script:
    """Register `db/lua/<name>.lua`."""
    return redis.register_script((LUA / f"{name}.lua").read_text())


async def next_message(channels: PubSub, timeout_s: float) -> tuple[bytes, bytes] | None:
    """Wait for the next (channel, data); None on silence. Reconnects and subscribes again."""
    message = cast("dict[str, Any] | None", await channels.get_message(timeout=timeout_s))
    return (message["channel"], message["data"]) if message else None


class Doorbell:
    """Rings slices and cancels; every failure is left to the scheduler, which rings again."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self._ring = script(redis, "ring")

    async def ring(self, rings: Iterable[Ring]) -> bool:
        """Enqueue each slice once per epoch; False when Redis is away."""
        try:
            for one in rings:
                await self._ring(
                    keys=[QUEUE, job_key_prefix + one.job_id],
                    args=[one.job_id, _job(one), JOB_TTL_MS, WAKE],
                )
        except REDIS_DOWN:
            return False
        return True

    async def ring_many(self, rings: Iterable[Ring]) -> bool:
        """Enqueue thousands in few round trips."""
        rings = tuple(rings)
        try:
            for start in range(0, len(rings), 500):
                async with self.redis.pipeline(transaction=False) as pipe:
                    for one in rings[start : start + 500]:
                        await self._ring(
                            keys=[QUEUE, job_key_prefix + one.job_id],
                            args=[one.job_id, _job(one), JOB_TTL_MS, WAKE],
                            client=pipe,
                        )
                    await pipe.execute()
        except REDIS_DOWN:
            return False
        return True

    async def cancel(self, run_id: UUID) -> bool:
        """Tell every worker to stop this run now; False when Redis is away."""
        try:
            await self.redis.publish(CANCEL, str(run_id))
        except REDIS_DOWN:
            return False
        return True


def _job(ring: Ring) -> bytes:
    args = (str(ring.slice_id),)
    enqueued_ms = int(time.time() * 1000)
    return serialize_job(EXECUTE, args, {}, None, enqueued_ms, serializer=encode) or b""
