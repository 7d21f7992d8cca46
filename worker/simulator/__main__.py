"""Run the simulator: `python -m worker.simulator --port 8599`."""

import argparse
import asyncio
import gc
import signal
import sys
from pathlib import Path

import uvloop

from worker.simulator.clock import Clock
from worker.simulator.protocol import Connection
from worker.simulator.site import Site

BACKLOG = 4096


async def serve(host: str, port: int, port_file: Path | None) -> None:
    """Serve until SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    site, clock = Site(), Clock(loop)
    server = await loop.create_server(lambda: Connection(site, clock), host, port, backlog=BACKLOG)
    bound = server.sockets[0].getsockname()[1]
    if port_file is not None:
        write_atomically(port_file, str(bound))
    sys.stdout.write(f"listening on http://{host}:{bound}\n")
    sys.stdout.flush()
    # Pauses of the collector would show up as late tokens.
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
    await stopped.wait()
    server.close()
    clock.close()


def write_atomically(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text)
    partial.replace(path)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m worker.simulator", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8599)
    parser.add_argument("--port-file", type=Path)
    given = parser.parse_args()
    uvloop.run(serve(given.host, given.port, given.port_file))


if __name__ == "__main__":
    main()
