"""The verb `up`: everything on this machine, until a signal."""

import asyncio
from pathlib import Path

import rich_click as click

from api.cli import ports
from api.cli.context import Context
from api.cli.stack import Stack, Wish, is_set
from api.cli.talk import program, say
from db.embedded.place import default_data
from db.settings import PREFIX, Settings, load, variable


@click.command
@click.option("--host", help="Address to serve on; else ASSAY_HOST, else 127.0.0.1.")
@click.option("--port", type=click.IntRange(0, 65_535), help="0 takes a free one. [default: 8501]")
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), help="Data directory.")
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True)
@click.pass_obj
def up(
    context: Context, host: str | None, port: int | None, data: Path | None, workers: int
) -> None:
    """Start everything on this machine and stay, until Ctrl-C.

    PostgreSQL and Valkey are started too, unless DATABASE_URL and REDIS_URL name others.
    """
    environ = {variable("auth"): "open", **context.environ}
    if is_set(context.environ, "auth"):
        environ = dict(context.environ)
    settings = load(environ)
    host = host or settings.host
    refuse_open_doors(settings, host)
    wish = Wish(
        data=data or default_data(context.environ.get("XDG_STATE_HOME")),
        environ=environ,
        host=host,
        port=ports.claim(host, settings.port if port is None else port),
        workers=workers,
    )
    stack = Stack(wish)

    async def when_up() -> None:
        stack.say("ready")
        say(welcome(wish.url))

    asyncio.run(stack.run(when_up))
    stack.say("stopped")


def refuse_open_doors(settings: Settings, host: str) -> None:
    """Raise before anything starts what the API would raise when it does."""
    if host == "127.0.0.1":
        return
    import msgspec  # noqa: PLC0415 - the next line loads the whole API, 0.4 s that few need

    from api.__main__ import refuse_open_doors as refuse  # noqa: PLC0415 - see above

    refuse(msgspec.structs.replace(settings, host=host))


def welcome(url: str) -> str:
    """Word where the service is and what to do next."""
    assay = program()
    elsewhere = "" if url == Settings().url else f"  export {PREFIX}URL={url}\n"
    return (
        f"\nAssay is ready at {url}\n"
        f"  documentation of the API: {url}/docs\n\n"
        f"Next, in another terminal:\n{elsewhere}"
        f"  {assay} bench run sim/fast sim/slow\n"
        f"  {assay} run list\n"
        f"  {assay} doctor\n\n"
        "Ctrl-C stops it."
    )
