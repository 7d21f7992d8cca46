"""A real simulator process, and a client that speaks to it through the real codecs."""

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from yarl import URL

from worker.providers.table import WIRES
from worker.providers.wire import ChatRequest, Message, Text

ROOT = Path(__file__).parents[3]
PREFIX = {"openai": "/v1", "anthropic": "/v1", "gemini": "/v1beta"}


@pytest.fixture(scope="session")
def anyio_backend():
    return "asyncio", {"use_uvloop": True}


def start(port_file):
    command = [
        sys.executable,
        "-m",
        "worker.simulator",
        "--port",
        "0",
        "--port-file",
        str(port_file),
    ]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    return process, process.stdout.readline().removeprefix("listening on ").strip()


@pytest.fixture(scope="session")
def launch():
    return start


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    """The address of a simulator that lives as long as the tests."""
    process, address = start(tmp_path_factory.mktemp("simulator") / "port")
    yield address
    process.terminate()
    left = process.communicate(timeout=5)[0]
    assert (process.returncode, left) == (0, "")


class Answer(msgspec.Struct):
    status: int = 0
    headers: Any = None
    deltas: list[Any] = []
    arrivals: list[float] = []  # when each chunk of bytes came
    texts: list[float] = []  # when each text delta came
    body: bytes = b""
    failure: Exception | None = None

    @property
    def text(self):
        return "".join(delta.text for delta in self.deltas if isinstance(delta, Text))

    def only(self, kind):
        return [delta for delta in self.deltas if isinstance(delta, kind)]


class Client:
    def __init__(self, base, session):
        self.base, self.session = base, session

    async def ask(
        self,
        wire,
        model,
        *,
        prompt="hello",
        request_id="",
        bare=False,
        timeout_s=20.0,
        stop_at=None,
        **more,
    ):
        """Ask as the worker would; keep what came and what went wrong."""
        request = ChatRequest(
            model=model,
            messages=(Message("user", prompt),),
            max_tokens=more.pop("max_tokens", 9999),
            **more,
        )
        call = WIRES[wire].encode(request, "key")
        url = URL(self.base + ("" if bare else PREFIX[wire]) + call.path, encoded=True)
        headers = call.headers | {"X-Client-Request-Id": request_id}
        answer = Answer()
        try:
            async with (
                asyncio.timeout(timeout_s),
                self.session.post(
                    url, data=call.body, headers=headers, allow_redirects=False
                ) as response,
            ):
                answer.status, answer.headers = response.status, response.headers
                await self._read(answer, response, wire, request.stream, stop_at)
        except Exception as failure:  # noqa: BLE001 -- what went wrong is the answer
            answer.failure = failure
        return answer

    async def _read(self, answer, response, wire, stream, stop_at):
        decoder = WIRES[wire].decoder()
        async for data in response.content.iter_any():
            now = time.perf_counter()
            answer.body += data
            answer.arrivals.append(now)
            if stream and answer.status == 200:
                deltas = decoder.feed(data)
                answer.deltas += deltas
                answer.texts += [now for delta in deltas if isinstance(delta, Text)]
            if stop_at and len(answer.body) >= stop_at:
                response.close()
                return
        if answer.status == 200:
            answer.deltas += decoder.close() if stream else WIRES[wire].decode(answer.body)

    async def get(self, path):
        async with self.session.get(self.base + path) as response:
            return json.loads(await response.read())

    async def record(self, request_id):
        (record,) = await self.get(f"/ledger?client_request_id={request_id}")
        return record

    async def settled(self, request_id):
        """The record once its request is over."""
        for _ in range(100):
            record = await self.record(request_id)
            if record["outcome"] != "open":
                return record
            await asyncio.sleep(0.02)
        raise TimeoutError(request_id)


@pytest.fixture
async def client(base):
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as session:
        yield Client(base, session)
