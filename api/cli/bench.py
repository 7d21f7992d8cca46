"""The noun `bench`: submit a benchmark, then watch it."""

import asyncio
from typing import Any, Final

import rich_click as click

from api.cli import exits, show
from api.cli.client import Client, open_client
from api.cli.context import Context
from api.cli.dry import describe
from api.cli.progress import choose_display
from api.cli.talk import program, put, put_line, put_text, say
from api.cli.views import Detail
from api.cli.watch import follow_or_detach

# option: field of the order sheet
FIELDS: Final = {
    "runs": "runs",
    "tier": "context_tiers",
    "max_tokens": "max_tokens",
    "temperature": "temperature",
    "prompt": "prompt",
    "concurrency": "concurrency",
}


@click.group
def bench() -> None:
    """Measure how fast models answer."""


@bench.command("run")
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@click.option("--runs", type=int, help="Samples per model and tier. [default: 3]")
@click.option(
    "--tier", type=int, multiple=True, help="Context tokens; may be repeated. [default: 0]"
)
@click.option("--max-tokens", type=int, help="Longest answer. [default: 512]")
@click.option("--temperature", type=float, help="[default: 0.7]")
@click.option("--prompt", help="What to ask. [default: a question about recursion]")
@click.option("--concurrency", type=int, help="Calls in flight per model and tier. [default: 1]")
@click.option("--no-warmup", is_flag=True, help="Leave out the call before each measured group.")
@click.option("--detach", is_flag=True, help="Do not watch: print the run's id and return.")
@click.option("--json", "as_json", is_flag=True, help="JSON lines: launch, the events, done.")
@click.option("--dry-run", is_flag=True, help="Show the plan and submit nothing.")
@click.pass_obj
def run_bench(
    context: Context,
    models: tuple[str, ...],
    *,
    no_warmup: bool,
    detach: bool,
    as_json: bool,
    dry_run: bool,
    **options: Any,
) -> int:
    """Run a benchmark over one or more models and show the result."""
    sheet = make_sheet(models, warmup=not no_warmup, **options)
    if dry_run:
        describe(sheet, as_json=as_json)
        return exits.OK
    return asyncio.run(submit(context.url(), sheet, detach=detach, as_json=as_json))


def make_sheet(models: tuple[str, ...], *, warmup: bool, **options: Any) -> dict[str, Any]:
    """Make the request; what was not given is left to the service."""
    given = {FIELDS[name]: value for name, value in options.items() if value not in (None, ())}
    return {"kind": "benchmark", "models": list(models), "warmup": warmup} | given


async def submit(url: str, sheet: dict[str, Any], *, detach: bool, as_json: bool) -> int:
    async with open_client(url) as client:
        run_id = await client.start(sheet)
        if as_json:
            put_line({"event": "launch", "run_id": run_id, "url": f"{url}/api/runs/{run_id}"})
        elif detach:
            put_text(run_id)
            say(f"Follow it with `{program()} run watch {run_id}`.")
        else:
            say(f"run {run_id}")
        return exits.OK if detach else await watch(client, run_id, as_json=as_json)


async def watch(client: Client, run_id: str, *, as_json: bool) -> int:
    """Follow a run, show its result, and return the exit code that it deserves."""
    total = (await client.fetch(run_id)).progress.planned
    run = await follow_or_detach(client, run_id, choose_display(as_json=as_json, total=total))
    code = exits.OK if run.succeeded else exits.RUN_FAILED
    if as_json:
        put_line(
            {"event": "done", "run_id": run.run_id, "status": run.status, "exit_code": code}
            | {"error": run.error, "summary": run.summary}
        )
    else:
        finish(run)
    return code


def finish(run: Detail) -> None:
    """Put the result on stdout, and on stderr what is wrong with it."""
    if run.result:
        put(show.results(run.result))
    if run.status != "completed":
        say(f"The run {run.status}" + (f": {run.error}" if run.error else "."))
    elif run.progress.failed:
        hint = f"`{program()} run show {run.run_id[:8]} --samples` says why"
        say(f"{run.progress.failed} of {run.progress.done} samples failed; {hint}.")
