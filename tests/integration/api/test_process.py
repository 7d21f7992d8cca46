"""The API as a process: how it stops, and what it refuses to start with."""

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import time

import aiohttp
import pytest

from tests.stack import ROOT, Client, Stack, free_port, read_events, until


@pytest.fixture
async def alone(database_url, redis, stores):
    """Start only the API."""
    stack = Stack(database_url, stores.redis_url)
    await stack.start("api")
    await until(lambda: stack._answers(f"{stack.url}/readyz"))
    async with aiohttp.ClientSession() as session:
        yield stack, Client(stack, session)
    for name in list(stack.processes):
        await stack.stop(name, 9)


async def test_sigterm_ends_open_streams_and_exits_with_0_within_two_seconds(alone, make_log):
    stack, client = alone
    log = await make_log()
    async with contextlib.AsyncExitStack() as streams:
        followed = [await streams.enter_async_context(client.events(log.run_id)) for _ in range(20)]
        for _, events in followed:
            assert (await anext(events))["id"] == "1"
        began = time.monotonic()
        assert await stack.stop("api") == 0
        assert time.monotonic() - began < 2
        for _, events in followed:
            assert [event async for event in events] == []
    assert stack.log("api") == ""


async def test_sigterm_does_not_wait_for_a_reader_that_stopped_reading(alone, make_log):
    stack, _ = alone
    log = await make_log()
    for _ in range(20):
        await log.commit(*[("result", b'{"text":"%b"}' % (b"x" * 10_000))] * 50)
    with socket.socket() as stuck:
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stuck.connect(("127.0.0.1", stack.port))
        stuck.sendall(f"GET /api/runs/{log.run_id}/events HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert b"200 OK" in stuck.recv(100)
        await until(lambda: streams(stack, 1))
        began = time.monotonic()
        assert await asyncio.wait_for(stack.stop("api"), 15) == 0
        assert time.monotonic() - began < 2
    assert stack.log("api") == ""


async def streams(stack, count):
    async with aiohttp.request("GET", f"{stack.url}/metrics") as response:
        return f"assay_sse_connections {count}.0" in await response.text()


def refused(**environ):
    """Run the API with these variables; give its exit code and what it said."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("ASSAY_")}
    environ = plain | {"ASSAY_PORT": str(free_port())} | environ
    done = subprocess.run(
        [sys.executable, "-m", "api"],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        check=False,
        text=True,
        timeout=20,
    )
    assert done.stdout == ""
    return done.returncode, done.stderr


@pytest.mark.parametrize("host", ["0.0.0.0", "", "192.0.2.1", "::"])
def test_open_mode_refuses_to_be_reached_from_elsewhere(host):
    code, said = refused(ASSAY_AUTH="open", ASSAY_HOST=host)
    assert code == 78
    assert said.count("\n") == 1
    assert "ASSAY_ACCEPT_OPEN=1" in said


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ASSAY_NO_SUCH_THING", "1"),
        ("ASSAY_PORT", "99999"),
        ("ASSAY_AUTH", "none"),
        ("ASSAY_SLOTS_FILE", "/nowhere"),
    ],
)
def test_a_wrong_setting_is_named_in_one_line_and_exits_with_78(name, value):
    code, said = refused(**{name: value})
    assert code == 78
    assert said.count("\n") == 1
    assert name in said


async def test_a_stream_of_the_process_can_be_resumed_after_its_restart(alone, make_log):
    stack, client = alone
    log = await make_log()
    async with client.events(log.run_id) as (_, events):
        assert (await anext(events))["id"] == "1"
        await stack.stop("api")
    await log.end()
    await stack.start("api")
    await until(lambda: stack._answers(f"{stack.url}/readyz"))
    url = f"{stack.url}/api/runs/{log.run_id}/events"
    async with client.session.get(url, headers={"Last-Event-ID": "1"}) as response:
        assert [e["event"] async for e in read_events(response.content)] == [
            "complete",
            "status",
            "completed",
        ]
