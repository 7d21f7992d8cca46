"""Each misbehaviour, as a client meets it and as the ledger tells it."""

import asyncio
import itertools

import aiohttp
import pytest

from worker.providers.table import WIRES
from worker.providers.wire import BadResponse, Finish

EACH = pytest.mark.parametrize("wire", WIRES)
BOTH = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
NAMES = itertools.count()


@pytest.fixture
def name():
    return f"fault-{next(NAMES)}-"


async def flaky(client, model="flaky-20-n-6"):
    drawn = {}
    for at in range(100):
        answer = await client.ask("openai", model, request_id=f"draw-{at}")
        assert answer.status != 429 or answer.headers["Retry-After"] == "1"
        drawn[at] = type(answer.failure).__name__ if answer.failure else answer.status
    return drawn


async def test_flaky_is_reproducible_and_of_four_kinds(client):
    first, second = await flaky(client), await flaky(client)
    assert first == second
    kinds = list(first.values())
    assert 10 <= 100 - kinds.count(200) <= 30
    failures = {kind for kind in kinds if not isinstance(kind, int)}
    assert failures <= {"ClientOSError", "ClientPayloadError", "ConnectionResetError"}
    assert failures
    assert set(kinds) - failures == {200, 429, 500, 503}
    assert set((await flaky(client, "n-1")).values()) == {200}


async def test_rate_limited_lets_five_a_second_through(client):
    await asyncio.sleep(1.0)
    answers = [await client.ask("openai", "rate-limited-n-1") for _ in range(8)]
    assert [answer.status for answer in answers] == [200] * 5 + [429] * 3
    assert answers[-1].headers["Retry-After"] == "1"
    await asyncio.sleep(1.0)
    assert (await client.ask("openai", "rate-limited-n-1")).status == 200


@EACH
async def test_half_open_goes_silent(client, wire, name):
    answer = await client.ask(wire, "half-open", request_id=name, timeout_s=0.4)
    assert isinstance(answer.failure, TimeoutError)
    assert answer.text == " the quick brown"
    record = await client.settled(name)
    assert (record["outcome"], record["tokens"], record["finished"]) == ("disconnected", 3, None)
    assert record["disconnected"] >= record["sent"][-1] + 0.3


@EACH
async def test_garbage_in_rotation(client, wire):
    answers = [await client.ask(wire, "garbage") for _ in range(3)]
    assert {answer.headers["Content-Type"].split(";")[0] for answer in answers} == {
        "text/event-stream",
        "text/html",
        "application/octet-stream",
    }
    assert all(answer.status == 200 for answer in answers)
    assert all(isinstance(answer.failure, BadResponse) for answer in answers)


@EACH
@BOTH
@pytest.mark.parametrize("model", ["never-ends", "never-ends-itl-0"])
async def test_never_ends_stops_when_the_client_goes(client, wire, stream, model, name):
    answer = await client.ask(
        wire, model, stream=stream, request_id=name, max_tokens=5, stop_at=6000 if stream else 20
    )
    assert answer.only(Finish) == []
    record = await client.settled(name)
    assert record["outcome"] == "disconnected"
    assert record["disconnected"] is not None
    await asyncio.sleep(0.05)
    assert (await client.record(name))["tokens"] == record["tokens"]
    assert (record["tokens"] > 20) == stream


@BOTH
async def test_drip_is_a_byte_per_second(client, stream, name):
    answer = await client.ask("openai", "drip", stream=stream, request_id=name, timeout_s=2.3)
    assert isinstance(answer.failure, TimeoutError)
    assert len(answer.body) == 3
    assert answer.arrivals[2] - answer.arrivals[0] == pytest.approx(2.0, abs=0.2)


@EACH
@BOTH
async def test_big_is_far_above_any_cap(client, wire, stream):
    answer = await client.ask(wire, "big", stream=stream, stop_at=8_000_000)
    assert len(answer.body) >= 8_000_000
    assert stream or int(answer.headers["Content-Length"]) > 64 * 2**20


async def test_redirect(client):
    answer = await client.ask("openai", "redirect", request_id="redirect")
    assert (answer.status, answer.headers["Location"]) == (302, "http://127.0.0.1:9/elsewhere")
    assert (await client.record("redirect"))["status"] == 302


@EACH
@BOTH
@pytest.mark.parametrize("model", ["cut-n-8", "rst-n-8", "cut-n-8-itl-1", "rst-n-8-itl-1"])
async def test_a_connection_that_ends_early(client, wire, stream, model, name):
    answer = await client.ask(wire, model, stream=stream, request_id=name)
    assert isinstance(answer.failure, aiohttp.ClientError | ConnectionResetError)
    assert answer.status == 200
    record = await client.settled(name)
    assert (record["outcome"], record["finished"], record["disconnected"]) == (
        model[:3],
        None,
        None,
    )
    if stream:
        assert answer.text == " the quick brown fox"
        assert record["tokens"] == 4


async def test_rst_is_a_reset_and_cut_is_not(client, base):
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b"
    host, port = base.removeprefix("http://").split(":")
    for model in (b"cut", b"rst"):
        reader, writer = await asyncio.open_connection(host, int(port))
        body = b'{"model":"%b","messages":[],"stream":true}' % model
        writer.write(head % (len(body), body))
        if model == b"rst":
            with pytest.raises(ConnectionResetError):
                await reader.read(-1)
        else:
            assert b"finish_reason" in await reader.read(-1)
        writer.close()
