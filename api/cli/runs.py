"""The noun `run`: list, show, watch and cancel runs of every kind."""

import asyncio

import msgspec
import rich_click as click

from api.cli import exits, show
from api.cli.bench import watch
from api.cli.client import open_client
from api.cli.context import Context
from api.cli.talk import program, put, put_json, put_line, put_text, say
from api.cli.views import Detail, Item

STATES = ("queued", "running", "completed", "failed", "canceled")
WHICH = click.argument("which", metavar="RUN")
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group(invoke_without_command=True)
@click.pass_context
def run(ctx: click.Context) -> None:
    """List, show, watch and cancel runs.

    RUN is an id, its first characters, or @last.
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_runs)


@run.command("list")
@click.option("--status", type=click.Choice(STATES), help="Only runs in this state.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@JSON
@click.pass_obj
def list_runs(
    context: Context, status: str | None = None, limit: int = 20, *, as_json: bool = False
) -> None:
    """List runs, newest first."""
    raw, items = asyncio.run(_list(context.url(), limit, status))
    if as_json:
        put_json(raw)
    elif items:
        put(show.runs(items))
    else:
        say(f"No runs. `{program()} bench run sim/fast` makes one.")


@run.command("show")
@WHICH
@click.option("--samples", is_flag=True, help="Every sample, too.")
@JSON
@click.pass_obj
def show_run(context: Context, which: str, *, samples: bool, as_json: bool) -> None:
    """Show what a run is, how far, and what came of it."""
    asyncio.run(_show(context.url(), which, samples=samples, as_json=as_json))


@run.command("watch")
@WHICH
@click.option("--json", "as_json", is_flag=True, help="JSON lines: launch, the events, done.")
@click.pass_obj
def watch_run(context: Context, which: str, *, as_json: bool) -> int:
    """Follow a run to its end; Ctrl-C leaves it running."""
    return asyncio.run(_watch(context.url(), which, as_json=as_json))


@run.command("cancel")
@WHICH
@click.pass_obj
def cancel_run(context: Context, which: str) -> None:
    """Cancel a run; the samples that it has are kept."""
    asyncio.run(_cancel(context.url(), which))


async def _list(url: str, limit: int, status: str | None) -> tuple[bytes, list[Item]]:
    async with open_client(url) as client:
        raw = await client.list_runs(limit, status)
        return raw, client.read_as(raw, list[Item])


async def _show(url: str, which: str, *, samples: bool, as_json: bool) -> None:
    async with open_client(url) as client:
        run_id = await client.resolve(which)
        raw = await client.read(run_id)
        detail = client.read_as(raw, Detail)
        page = await client.samples(run_id) if samples else None
    if as_json:
        more = {"samples": page.samples, "attempts": page.attempts} if page else {}
        put_json(msgspec.json.decode(raw) | more)
        return
    put_text("\n".join(show.facts(detail)))
    if detail.result:
        put(show.results(detail.result))
    if page:
        put(show.samples(page.samples))


async def _watch(url: str, which: str, *, as_json: bool) -> int:
    async with open_client(url) as client:
        run_id = (await client.fetch(await client.resolve(which))).run_id
        if as_json:
            put_line({"event": "launch", "run_id": run_id, "url": f"{url}/api/runs/{run_id}"})
        else:
            say(f"run {run_id}")
        return await watch(client, run_id, as_json=as_json)


async def _cancel(url: str, which: str) -> int:
    async with open_client(url) as client:
        run_id = await client.resolve(which)
        await client.cancel(run_id)
    say(f"run {run_id} is cancelled")
    return exits.OK
