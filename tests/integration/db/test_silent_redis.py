"""A Redis that takes connections and answers nothing costs a caller about a second."""

import asyncio
import tempfile
import time
from pathlib import Path
from uuid import uuid4

import pytest

from db.bus import Told, publish
from db.limits import SharedLimits
from db.queue import ANSWER_S, Doorbell, Ring, close_redis, open_redis

BATCH = (Told(1, "status", b"{}"),)


@pytest.fixture(params=[b"", b"+PONG\r\n"], ids=["silent", "answers-pings"])
async def silent(request):
    """Give a client of a server that listens, and answers pings at most."""
    asked = asyncio.Event()

    async def listen(reader, writer):
        while said := await reader.read(65536):
            asked.set()
            if b"PING" in said:
                writer.write(request.param)
        writer.close()

    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        path = Path(folder) / "redis.sock"
        server = await asyncio.start_unix_server(listen, path)
        client = open_redis(f"unix://{path}")
        yield client
        assert asked.is_set()
        await close_redis(client)
        server.close()


@pytest.mark.parametrize(
    ("act", "away"),
    [
        (lambda redis: Doorbell(redis).ring([Ring(uuid4(), 0)] * 3), False),
        (lambda redis: Doorbell(redis).ring_many([Ring(uuid4(), 0)] * 3), False),
        (lambda redis: Doorbell(redis).cancel(uuid4()), False),
        (lambda redis: publish(redis, uuid4(), BATCH), False),
        (lambda redis: SharedLimits(redis).lease("sim", 8, ["a"]), None),
    ],
    ids=["ring", "ring-many", "cancel", "publish", "lease"],
)
async def test_a_redis_that_does_not_answer_is_away_within_two_seconds(silent, act, away):
    began = time.monotonic()
    async with asyncio.timeout(5):
        assert await act(silent) is away
    assert ANSWER_S / 2 < time.monotonic() - began < 2
