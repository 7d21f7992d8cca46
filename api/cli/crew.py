"""Several worker processes under one: restarted when they die, stopped together, logs untouched."""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from api.cli.stack import PYTHON
from api.cli.talk import brief, say
from db.embedded.child import Child, Command
from db.embedded.children import SHIM
from db.embedded.keeper import Keeper
from db.settings import Settings, variable

NOWHERE: Final = Path(os.devnull)  # the workers write to our own stdout and stderr


class Hand:
    """One worker process, as a keeper's service."""

    def __init__(self, name: str, environ: Mapping[str, str], grace_s: float) -> None:
        self.name: Final = name
        argv = (*PYTHON, "worker")
        self._command = Command(name=name, argv=argv, env=environ, grace_s=grace_s)
        self._reaping: set[asyncio.Task[None]] = set()

    async def start(self) -> Child:
        """Start it through the shim, which ends it should we be killed."""
        facts = (str(os.getpid()), str(int(signal.SIGTERM)), "-", "0")
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-S", str(SHIM), *facts, *self._command.argv,
            stdin=asyncio.subprocess.DEVNULL, env=dict(self._command.env), start_new_session=True,
        )  # fmt: skip
        child = Child(self._command, process, NOWHERE, 0)
        task = asyncio.create_task(_reap(child))
        self._reaping.add(task)
        task.add_done_callback(self._reaping.discard)
        return child

    async def stop(self, child: Child) -> None:
        await child.stop()


async def supervise(count: int, environ: Mapping[str, str], settings: Settings) -> None:
    """Keep `count` workers alive until SIGTERM or SIGINT; a second signal kills them."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    keepers = [
        Keeper(Hand(f"worker-{place}", own(environ, settings, place), settings.drain_s + 5), _log)
        for place in range(1, count + 1)
    ]
    for keeper in keepers:
        keeper.begin()
    await stopping.wait()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _kill, keepers)
    async with asyncio.TaskGroup() as group:
        for keeper in keepers:
            group.create_task(keeper.stop())


def own(environ: Mapping[str, str], settings: Settings, place: int) -> dict[str, str]:
    """Give each worker a metrics port of its own, counted from the one that is set."""
    port = settings.worker_metrics_port
    name = variable("worker_metrics_port")
    return {**environ, name: str(port + place - 1)} if port else dict(environ)


def _kill(keepers: list[Keeper]) -> None:
    for keeper in keepers:
        if keeper.pid is not None:
            os.killpg(keeper.pid, signal.SIGKILL)


def _log(text: str) -> None:
    say(f"assay worker: {brief(text)}")


async def _reap(child: Child) -> None:
    await child.reap()
    child.mark_gone()
