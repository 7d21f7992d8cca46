"""Run one API process: `python -m api`."""

import logging
import os
import signal
import sys
from types import FrameType

import uvicorn
import uvloop
from litestar import Litestar
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.app import create_app
from api.stream import ABORT
from db.domain.errors import AppError, Unavailable
from db.migrate import require_schema
from db.pool import OUTAGES, open_pool
from db.settings import Settings, SettingsInvalid, load

LOOPBACK = ("127.0.0.1", "localhost", "::1")
FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"


class Protocol(HttpToolsProtocol):
    """Lends the app a way to drop a connection: ASGI has none."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {ABORT: {"call": self.transport.abort}}


class Server(uvicorn.Server):
    """Ends its streams before it waits for them: their clients reconnect and replay."""

    def __init__(self, app: Litestar, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._app = app

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if hasattr(self._app.state, "floor"):
            self._app.state.floor.hub.close()
        super().handle_exit(sig, frame)


def refuse_open_doors(settings: Settings) -> None:
    """Raise unless open mode stays on this machine or somebody took the risk on purpose."""
    if settings.auth == "open" and settings.host not in LOOPBACK and not settings.accept_open:
        raise SettingsInvalid(
            f"ASSAY_AUTH=open lets anybody in, and {settings.host} is not only this machine: "
            "set ASSAY_AUTH=required, or ASSAY_ACCEPT_OPEN=1 if that is what you want."
        )


async def check_stores(settings: Settings) -> None:
    """Raise what a person can mend in one line, before the server would bury it in tracebacks."""
    try:
        pool = await open_pool(settings.database_url, 1)
    except OUTAGES as error:
        raise Unavailable(f"Postgres cannot be reached: {error}") from None
    try:
        await require_schema(pool)
    finally:
        await pool.close()


def make_server(settings: Settings) -> Server:
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http=Protocol,
        ws="none",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        log_level="warning",
        timeout_graceful_shutdown=10,
        backlog=4096,
    )
    return Server(app, config)


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT."""
    uvloop.run(check_stores(settings))
    server = make_server(settings)
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn raises the signal again when it has stopped: a stop that was asked for exits with 0
        signal.signal(number, _heard)
    server.run()


def _heard(_number: int, _frame: FrameType | None) -> None:
    """Do nothing: the stop is under way."""


def main() -> int:
    try:
        settings = load(os.environ)
        logging.basicConfig(level=settings.log_level.upper(), format=FORMAT)
        refuse_open_doors(settings)
        serve(settings)
    except AppError as error:
        print(f"assay api: {error}", file=sys.stderr)  # noqa: T201
        return 78
    return 0


if __name__ == "__main__":
    sys.exit(main())
