"""The live copy of a run's events, from the worker that wrote them to every API process."""

from collections.abc import Sequence
from typing import Final, NamedTuple
from uuid import UUID

import msgspec

from db.queue import REDIS_DOWN, Redis

PREFIX: Final = "assay:run:"


class Told(NamedTuple):
    """One event as stored; `data` is a JSON object without its type."""

    seq: int
    type: str
    data: bytes


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(tuple[Told, ...]).decode


def channel(run_id: UUID) -> str:
    return PREFIX + str(run_id)


def decode_batch(payload: bytes) -> tuple[Told, ...]:
    """Read what `publish` wrote."""
    return _decode(payload)


async def publish(redis: Redis, run_id: UUID, batch: Sequence[Told]) -> bool:
    """Send events that are committed already; a lost copy is read from the table instead."""
    if not batch:
        return True
    try:
        await redis.publish(channel(run_id), _encode(tuple(batch)))
    except REDIS_DOWN:
        return False
    return True
