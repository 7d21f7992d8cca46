"""The command's root, and the table of its verbs; a verb's module is imported when it is called."""

import importlib
from collections.abc import Mapping
from typing import Final, NamedTuple

import rich_click as click

from api.cli.context import Context
from api.cli.exits import words


class Verb(NamedTuple):
    module: str
    help: str


VERBS: Final[Mapping[str, Verb]] = {
    "demo": Verb("demo", "Start everything, measure a simulator, show the result, leave nothing."),
    "up": Verb("up", "Start everything on this machine and stay, until Ctrl-C."),
    "bench": Verb("bench", "Measure how fast models answer."),
    "run": Verb("runs", "List, show, watch and cancel runs."),
    "doctor": Verb(
        "doctor", "Check this machine, the settings and the service; exit 1 on a fault."
    ),
    "config": Verb("config", "List every setting, its value and where that comes from."),
    "serve": Verb("server", "Run one API process against DATABASE_URL and REDIS_URL."),
    "worker": Verb("server", "Run workers against DATABASE_URL and REDIS_URL."),
    "scheduler": Verb("server", "Run the scheduler against DATABASE_URL and REDIS_URL."),
    "migrate": Verb("server", "Bring the database at DATABASE_URL to this version's schema."),
}


def find(name: str) -> click.Command:
    """Import a verb; each module names its commands like the verbs."""
    return getattr(importlib.import_module(f"api.cli.{VERBS[name].module}"), name)


class Root(click.RichGroup):
    """Lists verbs from the table, so that help imports none of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        verb = VERBS.get(cmd_name)
        return click.Command(cmd_name, help=verb.help) if verb else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, found, rest = super().resolve_command(ctx, args)
        return name, find(name) if name and found else found, rest


@click.group(cls=Root, epilog="Exit codes:\n\n" + words())
@click.option("--server", metavar="URL", help="Where the service is; else ASSAY_URL.")
@click.version_option(package_name="assay", message="assay %(version)s")
@click.pass_obj
def root(context: Context, server: str | None) -> None:
    """Benchmark, evaluate and tune language models."""
    context.server = server
