"""Run one worker process: `python -m worker`."""

import asyncio
import logging
import os
import secrets
import signal
import socket
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final

import uvloop

from db.domain.errors import AppError
from db.limits import SharedLimits
from db.migrate import require_schema
from db.pool import open_pool
from db.queue import Doorbell, close_redis, open_redis
from db.settings import Settings, load
from worker.ask import Asker
from worker.call import Caller
from worker.consume import LeaseWorker
from worker.egress import open_session
from worker.execute import Body, execute_slice
from worker.gate import Gate
from worker.hands import Hands
from worker.telemetry import BUSY, SLOTS, expose

log: Final = logging.getLogger("assay.worker")
FORMAT: Final = "%(asctime)s %(levelname)s %(name)s %(message)s"
Step = Callable[[], Coroutine[Any, Any, None]]


async def serve(settings: Settings) -> None:
    """Execute slices until SIGTERM or SIGINT, then finish or hand back what is in hand."""
    # a restarted container has its predecessor's name and pid
    owner = f"{socket.gethostname()}:{secrets.token_hex(4)}:{os.getpid()}"
    redis = open_redis(settings.redis_url)
    pool = await open_pool(settings.database_url, settings.pool_size)
    await require_schema(pool)
    hands = Hands(pool, settings, owner)
    gate = Gate(SharedLimits(redis), settings, owner)
    async with open_session(settings) as session:
        body = Body(hands, Doorbell(redis), Asker(Caller(session, settings), gate, settings))
        worker = LeaseWorker(redis, lambda id_: execute_slice(body, id_), owner, settings.slots)
        worker.listen(hands.cancel_run, gate.pause)
        if settings.worker_metrics_port:
            BUSY.set_function(lambda: hands.busy)
            SLOTS.set(settings.slots)
            expose(settings.worker_metrics_host, settings.worker_metrics_port)
        log.info("ready: %s", owner)
        async with background(worker.main, hands.keep, gate.keep) as tasks:
            await until_told(tasks)
            hands.stopping.set()
            await worker.drain(settings.drain_s)
            await gate.give_back()
    await close_redis(redis)
    await pool.close()


async def until_told(tasks: list[asyncio.Task[None]]) -> None:
    """Wait for SIGTERM or SIGINT; raise what ended one of the tasks before."""
    told, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    waiter = asyncio.create_task(told.wait())
    await asyncio.wait([waiter, *tasks], return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        if task.done():
            task.result()


@asynccontextmanager
async def background(*steps: Step) -> AsyncGenerator[list[asyncio.Task[None]]]:
    """Keep loops running for a while; they go on while the body drains."""
    tasks = [asyncio.create_task(step()) for step in steps]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def main() -> int:
    try:
        settings = load(os.environ)
        logging.basicConfig(level=settings.log_level.upper(), format=FORMAT)
        logging.getLogger("arq").setLevel(logging.WARNING)
        uvloop.run(serve(settings))
    except AppError as error:
        print(f"assay worker: {error}", file=sys.stderr)  # noqa: T201
        return 78
    return 0


if __name__ == "__main__":
    sys.exit(main())
