"""Follows a run to its end, or until Ctrl-C; the run itself goes on without us."""

import asyncio
import signal
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Final

from api.cli import exits
from api.cli.client import Client
from api.cli.exits import Ended
from api.cli.progress import Display
from api.cli.talk import program, say
from api.cli.views import Detail

SECOND_THOUGHTS_S: Final = 3.0


async def follow(client: Client, run_id: str, display: Display) -> Detail:
    """Show a run's events until its last one; returns how it ended."""
    try:
        async with ticking(display), aclosing(client.events(run_id)) as events:
            async for event in events:
                display.hear(event)
    finally:
        display.close()
    return await client.fetch(run_id)


async def follow_or_detach(client: Client, run_id: str, display: Display) -> Detail:
    """Follow; Ctrl-C raises Ended and leaves the run alone, a second Ctrl-C cancels it."""
    told, loop = asyncio.Event(), asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, told.set)
    following = asyncio.create_task(follow(client, run_id, display))
    hearing = asyncio.create_task(told.wait())
    try:
        await asyncio.wait({following, hearing}, return_when=asyncio.FIRST_COMPLETED)
        if following.done():
            return following.result()
        following.cancel()
        await asyncio.wait({following})
        told.clear()
        raise await detach(client, run_id, told)
    finally:
        hearing.cancel()
        loop.remove_signal_handler(signal.SIGINT)


async def detach(client: Client, run_id: str, again: asyncio.Event) -> Ended:
    say(f"Detached; the run goes on. `{program()} run watch {run_id}` shows it again,")
    say(f"`{program()} run cancel {run_id}` cancels it, and so does Ctrl-C within 3 s.")
    with suppress(TimeoutError):
        await asyncio.wait_for(again.wait(), SECOND_THOUGHTS_S)
    if again.is_set():
        await client.cancel(run_id)
        return Ended("the run is cancelled", exits.INTERRUPTED)
    return Ended("", exits.INTERRUPTED)


@asynccontextmanager
async def ticking(display: Display) -> AsyncGenerator[None]:
    async def tick() -> None:
        while True:
            await asyncio.sleep(1)
            display.tick()

    task = asyncio.create_task(tick())
    try:
        yield
    finally:
        task.cancel()
