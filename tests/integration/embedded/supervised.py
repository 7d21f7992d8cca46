"""Runs a supervisor as its own process: `supervised.py JSON`, for tests that kill it."""

import asyncio
import json
import sys
from pathlib import Path

from db.embedded.errors import EmbeddedError
from db.embedded.stores import Stores
from db.embedded.supervisor import Program, Supervisor


def say(line: str) -> None:
    print(line, flush=True)


async def main(wish) -> None:
    stores = wish.get("stores", False)
    supervisor = Supervisor(
        Path(wish["data"]), log=say, durable=False, postgres=stores, valkey=stores
    )

    async def plan(_: Stores) -> list[Program]:
        return [
            Program(**{**each, "argv": tuple(each["argv"]), "env": {}}) for each in wish["programs"]
        ]

    async def when_up() -> None:
        say("UP")

    await supervisor.run(plan, when_up=when_up)


try:
    asyncio.run(main(json.loads(sys.argv[1])))
except EmbeddedError as error:
    sys.exit(f"{type(error).__name__}: {error}")
