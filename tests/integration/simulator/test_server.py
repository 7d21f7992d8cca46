"""The process and its HTTP."""

import asyncio
import signal
import socket
import time
from contextlib import asynccontextmanager

import pytest

BODY = b'{"model":"sim/n-2","messages":[{"role":"user","content":"x"}]}'
POST = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n%b\r\n" % (
    len(BODY),
    b"%b",
)


@asynccontextmanager
async def connected(base):
    host, port = base.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield reader, writer
    finally:
        writer.close()


async def talk(base, data):
    """Send raw bytes; return all that comes until the server closes or is silent."""
    host, port = base.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(data)
    got = b""
    try:
        async with asyncio.timeout(0.5):
            while part := await reader.read(65536):
                got += part
    except TimeoutError:
        got += b"<open>"
    writer.close()
    return got


async def test_health_models_stats(client):
    assert await client.get("/healthz") == {"status": "ok"}
    models = await client.get("/v1/models")
    assert {"sim/fast", "sim/echo", "sim/flaky-20"} <= {model["id"] for model in models["data"]}
    stats = await client.get("/stats")
    assert stats["open_connections"] >= 1
    assert stats["concurrent"] == 0


async def test_every_listed_model_exists(client):
    models = await client.get("/v1/models")
    for model in models["data"]:
        answer = await client.ask("openai", model["id"], timeout_s=0.05)
        assert answer.status != 404, model


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v1/nothing", "/v1beta/models/fast:explode", "/models/fast"]
)
async def test_unknown_paths(client, path):
    for verb in ("GET", "POST", "PUT"):
        async with client.session.request(verb, client.base + path, data=b"{}") as response:
            assert response.status == 404


async def test_connections_are_kept_alive(client):
    before = (await client.get("/stats"))["connections"]
    for _ in range(10):
        await client.ask("openai", "n-1")
    assert (await client.get("/stats"))["connections"] == before


async def test_connection_close_is_honoured(base):
    got = await talk(base, (POST % b"connection: close\r\n") + BODY)
    assert got.endswith(b"}")
    assert b"<open>" in await talk(base, (POST % b"") + BODY)


async def test_pipelined_requests_are_answered_in_order(base):
    slow = BODY.replace(b"n-2", b"ttft-50-n-3")
    request = (POST.replace(b"%d" % len(BODY), b"%d" % len(slow)) % b"") + slow
    got = await talk(base, request + (POST % b"") + BODY + (POST % b"") + BODY)
    assert got.count(b"HTTP/1.1 200 OK") == 3
    assert got.index(b"brown") < got.index(b'the quick"')


async def test_a_request_in_single_bytes(base):
    async with connected(base) as (reader, writer):
        for byte in (POST % b"expect: 100-continue\r\n") + BODY:
            writer.write(bytes([byte]))
            await asyncio.sleep(0)
        lines = [await asyncio.wait_for(reader.readline(), 2) for _ in range(3)]
    assert lines == [b"HTTP/1.1 100 Continue\r\n", b"\r\n", b"HTTP/1.1 200 OK\r\n"]


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x00",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: x\r\n\r\n",
    ],
)
async def test_what_is_not_http_is_refused_and_closed(base, data):
    got = await talk(base, data)
    assert got.startswith(b"HTTP/1.1 400")
    assert not got.endswith(b"<open>")


async def test_sigterm_stops_at_once_with_a_stream_open(launch, tmp_path):
    process, address = launch(tmp_path / "port")
    host, port = address.removeprefix("http://").split(":")
    assert (tmp_path / "port").read_text() == port
    assert [path.name for path in tmp_path.iterdir()] == ["port"]
    body = b'{"model":"never-ends","messages":[],"stream":true}'
    with socket.create_connection((host, int(port))) as sock:
        sock.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: %d\r\n\r\n%b"
            % (len(body), body)
        )
        assert sock.recv(10) == b"HTTP/1.1 2"
        started = time.perf_counter()
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0
        assert time.perf_counter() - started < 1.0
    assert process.stdout.read() == ""
    process.stdout.close()


async def test_a_request_that_comes_during_an_answer_waits(base):
    slow = BODY.replace(b"n-2", b"ttft-80-n-3")
    async with connected(base) as (reader, writer):
        writer.write((POST.replace(b"%d" % len(BODY), b"%d" % len(slow)) % b"") + slow)
        await asyncio.sleep(0.02)
        writer.write((POST % b"connection: close\r\n") + BODY)
        got = await asyncio.wait_for(reader.read(-1), 2)
    assert got.count(b"HTTP/1.1 200 OK") == 2
    assert got.index(b"brown") < got.index(b'the quick"')


async def test_a_split_body_has_a_chunk_for_each_byte(base):
    body = b'{"model":"n-2-split-1","messages":[],"stream":true}'
    head = POST.replace(b"%d" % len(BODY), b"%d" % len(body)) % b"connection: close\r\n"
    head, _, chunks = (await talk(base, head + body)).partition(b"\r\n\r\n")
    assert b"transfer-encoding: chunked" in head
    framed = chunks.removesuffix(b"0\r\n\r\n")
    assert len(framed) > 6 * 400
    assert set(framed[::6]) == {ord("1")}
    assert framed[3::6].startswith(b"data: {")
