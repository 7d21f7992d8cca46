"""One API process, a thousand clients on one run: how late is each event, and what does it cost?"""

import asyncio
import json
import sys
import time
from pathlib import Path

import psutil

from tests.benchmarks.report import fresh_stores, print_facts, print_table, spread
from tests.stack import Stack, free_port, open_stack

CLIENTS, SECONDS, RATES = 1_000, 15, (10, 60)
PAYLOAD = 250


async def main():
    print_facts(
        f"sse: {CLIENTS} clients on one run, {PAYLOAD}-byte events for {SECONDS} s at each rate; "
        "readers and writer are processes on the same cores"
    )
    rows = [row for rate in RATES for row in (await bare(rate), await ours(rate))]
    print_table(
        (
            "server",
            "events/s",
            "delivered/s",
            "lost",
            "lag ms p50 / p99 / max",
            "CPU %",
            "KiB per stream",
        ),
        rows,
    )


async def bare(rate):
    """Measure the ceiling: an ASGI app without framework, table or Redis."""
    port = free_port()
    server = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.benchmarks.bare_sse", str(port), str(rate), str(SECONDS)
    )
    try:
        await answers(port)
        return await crowd("bare ASGI, uvicorn", rate, server.pid, port, "/", rate * SECONDS, None)
    finally:
        server.kill()
        await server.wait()


async def ours(rate):
    async with (
        fresh_stores() as (stores, _),
        open_stack(stores.database_url, stores.redis_url, workers=0) as (stack, client),
    ):
        run_id = await client.submit(models=["sim/fast"], runs=1)
        pid, path = stack.processes["api"].pid, f"/api/runs/{run_id}/events"
        return await crowd("Assay", rate, pid, stack.port, path, rate * SECONDS, stack)


async def crowd(name, rate, pid, port, path, expected, stack: Stack | None):
    """Let the clients connect, start the writer, gather what each of them saw."""
    server, readers = psutil.Process(pid), CLIENTS // 2
    before = server.memory_full_info().pss
    clients = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.benchmarks.sse_readers",
            str(port), path, str(readers), str(expected), str(SECONDS + 20),
            stdout=asyncio.subprocess.PIPE,
        )
        for _ in range(2)
    ]  # fmt: skip
    for client in clients:
        assert (await client.stdout.readline()).strip() == b"connected"
    held = server.memory_full_info().pss - before
    server.cpu_percent()
    writer = await write(stack, path, rate) if stack else await poke(port)
    outputs = [json.loads((await client.communicate())[0]) for client in clients]
    cpu = server.cpu_percent()
    if writer:
        await writer.wait()
    lags = [lag for output in outputs for lag in output["lags"]]
    delivered = sum(output["delivered"] for output in outputs)
    return (
        name, rate, f"{delivered / max(o['seconds'] for o in outputs):,.0f}",
        CLIENTS * expected - delivered, spread(lags), f"{cpu:.0f}", f"{held / CLIENTS / 1024:.0f}",
    )  # fmt: skip


async def write(stack, path, rate):
    run_id = path.split("/")[3]
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.benchmarks.sse_writer", run_id, str(rate), str(SECONDS),
        env=stack.environ, cwd=Path(__file__).parent.parent.parent,
    )  # fmt: skip


async def poke(port):
    """Tell the bare server to begin."""
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /begin HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    await writer.drain()
    writer.close()


async def answers(port):
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return
