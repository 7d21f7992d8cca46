"""The verbs for production: one program each, against the stores that the settings name."""

import asyncio
import os
import sys
from collections.abc import Mapping
from typing import NoReturn

import rich_click as click

from api.cli.context import Context
from api.cli.crew import supervise
from api.cli.schema import bring_up
from api.cli.stack import PYTHON
from api.cli.talk import say
from db.settings import redacted, variable


@click.command
@click.option("--host", help="Address to serve on; else ASSAY_HOST, else 127.0.0.1.")
@click.option("--port", type=click.IntRange(0, 65_535), help="Else ASSAY_PORT, else 8501.")
@click.pass_obj
def serve(context: Context, host: str | None, port: int | None) -> None:
    """Run one API process against DATABASE_URL and REDIS_URL."""
    given = {"host": host, "port": None if port is None else str(port)}
    environ = dict(context.environ)
    for name, value in given.items():
        if value is not None:
            environ.pop(f"{variable(name)}_FILE", None)
            environ[variable(name)] = value
    become("api", environ)


@click.command
@click.option("--processes", type=click.IntRange(1, 256), default=1, show_default=True)
@click.pass_obj
def worker(context: Context, processes: int) -> None:
    """Run workers against DATABASE_URL and REDIS_URL."""
    if processes == 1:
        become("worker", context.environ)
    asyncio.run(supervise(processes, context.environ, context.settings()))


@click.command
@click.pass_obj
def scheduler(context: Context) -> None:
    """Run the scheduler against DATABASE_URL and REDIS_URL."""
    become("scheduler", context.environ)


@click.command
@click.pass_obj
def migrate(context: Context) -> None:
    """Bring the database at DATABASE_URL to this version's schema."""
    settings = context.settings()
    say(f"migrating {redacted(settings)['database_url']}")
    applied = asyncio.run(bring_up(settings.database_url))
    for name in applied:
        say(f"  applied {name}")
    say("The schema is up to date.")


def become(module: str, environ: Mapping[str, str]) -> NoReturn:
    """Replace this process, so that signals and the exit code are the program's own."""
    sys.stdout.flush()
    os.execve(sys.executable, [*PYTHON, module], dict(environ))  # noqa: S606 - our own program
