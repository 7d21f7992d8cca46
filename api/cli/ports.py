"""Ports of this machine: which one is free, who holds a taken one, and whether a service is ready."""

import asyncio
import errno
import socket
from typing import Final

from api.cli.exits import Ended

EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - read, not bound
PROBE_S: Final = 2.0
OUR_MARK: Final = b'"assay"'  # /api/version names us


def claim(host: str, port: int) -> int:
    """Return the port, or a free one for 0; raises Ended when it cannot be served on."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise refusal(host, port, error) from None
        return probe.getsockname()[1]


def refusal(host: str, port: int, error: OSError) -> Ended:
    """Word why a port cannot be had."""
    if error.errno == errno.EADDRINUSE:
        if asyncio.run(is_assay(host, port)):
            return Ended(
                f"Assay already runs at {url(host, port)}: use that one, or choose another port "
                "with --port (0 takes a free one)."
            )
        return Ended(
            f"Port {port} of {host} is taken by another program: choose another one with --port "
            "(0 takes a free one)."
        )
    if error.errno == errno.EACCES:
        return Ended(f"This user may not serve on port {port}: choose one above 1023 with --port.")
    return Ended(f"Cannot serve on {host}, port {port}: {error.strerror or error}.")


def url(host: str, port: int) -> str:
    """Say where a service that listens there is reached from this machine."""
    name = EVERYWHERE.get(host, host)
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


async def is_assay(host: str, port: int) -> bool:
    try:
        return OUR_MARK in await fetch(host, port, "/api/version")
    except (OSError, TimeoutError):
        return False


async def is_ready(host: str, port: int) -> bool:
    """Ask /readyz; raises OSError while nobody listens."""
    return b" 200 " in (await fetch(host, port, "/readyz")).partition(b"\r\n")[0]


async def fetch(host: str, port: int, path: str) -> bytes:
    """Return a whole answer, head and body: too little for a client library to be worth its import."""
    async with asyncio.timeout(PROBE_S):
        reader, writer = await asyncio.open_connection(EVERYWHERE.get(host, host), port)
        try:
            writer.write(
                f"GET {path} HTTP/1.1\r\nHost: assay\r\nConnection: close\r\n\r\n".encode()
            )
            return await reader.read(65_536)
        finally:
            writer.close()
