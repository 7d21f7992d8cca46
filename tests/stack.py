"""Assay as real processes on real stores, each of which a test may kill."""

import asyncio
import json
import os
import signal
import socket
import sys
import tempfile
import time
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

ROOT = Path(__file__).parent.parent
MODULES = {
    "api": "api",
    "worker": "worker",
    "scheduler": "scheduler",
    "simulator": "worker.simulator",
}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def until(check, within_s=30.0, pause_s=0.02):
    """Await `check` until it gives something true; fail after the deadline."""
    deadline = time.monotonic() + within_s
    while True:
        found = await check()
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {within_s} s"
        await asyncio.sleep(pause_s)


class Event(dict):
    """One SSE event: `id`, `event`, and `data` decoded."""


async def read_events(lines):
    """Decode an SSE body; yields events, comments left out."""
    fields = {}
    async for raw in lines:
        line = raw.decode().rstrip("\n")
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif "data" in fields:
            yield Event(fields | {"data": json.loads(fields["data"])})
            fields = {}
        else:
            fields = {}


class Stack:
    """The service's processes; names are `api`, `worker-1`, `scheduler`, `simulator`."""

    def __init__(self, database_url, redis_url, **extra):
        self.port, self.sim_port = free_port(), free_port()
        self.logs = Path(tempfile.mkdtemp(prefix="assay-logs-"))
        self.processes = {}
        self.environ = os.environ | {
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "ASSAY_AUTH": "open",
            "ASSAY_PORT": str(self.port),
            "ASSAY_SIM_URL": f"http://127.0.0.1:{self.sim_port}",
            **{f"ASSAY_{name.upper()}": str(value) for name, value in extra.items()},
        }

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    async def start(self, name):
        module = MODULES[name.partition("-")[0]]
        arguments = ["--port", str(self.sim_port)] if name == "simulator" else []
        with (self.logs / f"{name}.log").open("a") as log:
            self.processes[name] = await asyncio.create_subprocess_exec(
                sys.executable, "-m", module, *arguments,
                env=self.environ, cwd=ROOT, stdout=log, stderr=log,
            )  # fmt: skip
        return self.processes[name]

    async def stop(self, name, number=signal.SIGTERM):
        process = self.processes.pop(name)
        if process.returncode is None:
            process.send_signal(number)
        return await process.wait()

    def log(self, name):
        return (self.logs / f"{name}.log").read_text()

    async def ready(self):
        """Wait until the API and the simulator answer."""
        for url in (f"{self.url}/readyz", f"http://127.0.0.1:{self.sim_port}/healthz"):
            await until(lambda url=url: self._answers(url))

    async def _answers(self, url):
        try:
            async with aiohttp.request("GET", url) as response:
                return response.status == 200
        except aiohttp.ClientError:
            return False


class Client:
    """A user of the service."""

    def __init__(self, stack, session):
        self.stack, self.session = stack, session

    async def call(self, method, path, **options):
        async with self.session.request(method, self.stack.url + path, **options) as response:
            text = await response.text()
            return response.status, json.loads(text) if text else None

    async def submit(self, **sheet):
        status, body = await self.call("POST", "/api/runs", json={"kind": "benchmark", **sheet})
        assert status == 200, body
        return body["run_id"]

    async def run(self, run_id):
        status, body = await self.call("GET", f"/api/runs/{run_id}")
        assert status == 200, body
        return body

    async def finished(self, run_id, within_s=60.0):
        async def over():
            run = await self.run(run_id)
            return run if run["finished_at"] else None

        return await until(over, within_s)

    async def samples(self, run_id):
        """Read every sample and attempt, page by page."""
        samples, attempts, after = [], [], -1
        while after is not None:
            path = f"/api/runs/{run_id}/samples?limit=1000&after={after}"
            _, page = await self.call("GET", path)
            samples += page["samples"]
            attempts += page["attempts"]
            after = page["next_after"]
        return samples, attempts

    @asynccontextmanager
    async def events(self, run_id, after=None):
        """Open a run's stream; gives the response and an iterator of its events."""
        headers = {} if after is None else {"Last-Event-ID": str(after)}
        url = f"{self.stack.url}/api/runs/{run_id}/events"
        async with self.session.get(url, headers=headers) as response:
            yield response, read_events(response.content)

    async def ledger(self, prefix=""):
        url = f"http://127.0.0.1:{self.stack.sim_port}/ledger?limit=200000"
        async with self.session.get(url, params={"client_request_id": prefix}) as response:
            return await response.json()


@asynccontextmanager
async def open_stack(database_url, redis_url, workers=1, **extra):
    """Start the service and wait until it answers; at the end stop what still runs."""
    stack = Stack(database_url, redis_url, **extra)
    names = ["simulator", "api", "scheduler", *(f"worker-{n + 1}" for n in range(workers))]
    try:
        for name in names:
            await stack.start(name)
        await stack.ready()
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=120)) as session:
            yield stack, Client(stack, session)
    finally:
        for name in list(stack.processes):
            await stack.stop(name, signal.SIGKILL)
