"""The verb `demo`: the whole service for one benchmark, and nothing of it afterwards."""

import asyncio
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import rich_click as click

from api.cli import exits, ports, show
from api.cli.client import open_client
from api.cli.context import Context
from api.cli.exits import Ended
from api.cli.progress import choose_display
from api.cli.stack import Stack, Wish
from api.cli.talk import put, say
from api.cli.up import welcome
from api.cli.watch import follow
from db.settings import PREFIX, UNPREFIXED, variable

SHEET: Final[Mapping[str, Any]] = {
    "kind": "benchmark",
    "models": ["sim/fast", "sim/ttft-200-itl-10-n-64", "sim_anthropic/fast"],
    "context_tiers": [0, 2000],
    "runs": 3,
}


@click.command
@click.option("--keep", is_flag=True, help="Leave it running, until Ctrl-C.")
@click.pass_obj
def demo(context: Context, *, keep: bool) -> int:
    """Start everything, measure a simulator, show the result, leave nothing.

    Uses free ports and a temporary directory; DATABASE_URL, REDIS_URL and ASSAY_* do not count.
    """
    data = Path(tempfile.mkdtemp(prefix="assay-demo-"))
    host = "127.0.0.1"
    port = ports.claim(host, 0)
    environ = bare(context.environ) | {variable("drain_s"): "1"}
    stack = Stack(Wish(data=data, environ=environ, host=host, port=port, durable=False))
    try:
        code = asyncio.run(perform(stack, ports.url(host, port), keep=keep))
    finally:
        for folder in filter(None, (data, stack.sockets)):
            shutil.rmtree(folder, ignore_errors=True)
    stack.say("stopped, and nothing is left")
    return code


def bare(environ: Mapping[str, str]) -> dict[str, str]:
    """Leave out every setting: a demonstration touches nobody's stores."""
    ours = (PREFIX, *UNPREFIXED)
    return {name: value for name, value in environ.items() if not name.startswith(ours)}


async def perform(stack: Stack, url: str, *, keep: bool) -> int:
    """Run the benchmark as soon as the service is up; raises Ended when that was interrupted."""
    codes: list[int] = []

    async def when_up() -> None:
        stack.say(f"ready at {url}")
        codes.append(await measure(stack, url))
        if keep:
            say(welcome(url))
        else:
            stack.supervisor.stop()

    await stack.run(when_up)
    if not codes:
        raise Ended("interrupted", exits.INTERRUPTED)
    return codes[0]


async def measure(stack: Stack, url: str) -> int:
    async with open_client(url) as client:
        run_id = await client.start(SHEET)
        stack.say(f"benchmark of {', '.join(SHEET['models'])}")
        total = (await client.fetch(run_id)).progress.planned
        run = await follow(client, run_id, choose_display(as_json=False, total=total))
    stack.say(f"{run.status}: {run.progress.done} samples")
    if run.result:
        put(show.results(run.result))
    return exits.OK if run.succeeded else exits.RUN_FAILED
