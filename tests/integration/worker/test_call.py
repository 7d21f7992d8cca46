"""One call against the simulator, the real HTTP provider."""

import time

import msgspec
import pytest

from db.domain.timing import Stamps
from worker.call import Caller, Endpoint
from worker.egress import open_session
from worker.providers.table import WIRES
from worker.providers.wire import ChatRequest, Message

FAST = "sim/ttft-5-itl-1-n-8"


def request(model):
    return ChatRequest(model=model, messages=(Message("user", "hello"),), max_tokens=64)


@pytest.mark.parametrize(
    "base", ["http://10.255.255.1:81", "http://127.0.0.1:6379", "http://[fec0::1]"]
)
async def test_a_forbidden_address_is_told_as_such(settings, base):
    async with open_session(settings) as session:
        endpoint = Endpoint("sim", base, WIRES["openai"])
        reply = await Caller(session, settings).call(endpoint, request("fast"), "id")
    assert reply.error.code == "EGRESS_DENIED"


@pytest.mark.parametrize(
    ("model", "code", "status"),
    [
        ("status-500", "PROVIDER_REFUSED", 500),
        ("status-401", "PROVIDER_REFUSED", 401),
        ("status-429", "PROVIDER_RATE_LIMITED", 429),
        ("redirect", "PROVIDER_REDIRECT", 302),
        ("cut", "PROVIDER_UNREACHABLE", 200),
        ("rst", "PROVIDER_UNREACHABLE", 200),
        ("half-open", "PROVIDER_TIMEOUT", 200),
        ("never-ends", "PROVIDER_TIMEOUT", 200),
        ("error-mid", "PROVIDER_REFUSED", 200),
        ("big", "PROVIDER_RESPONSE_TOO_LARGE", 200),
    ],
)
async def test_whatever_a_provider_does_ends_in_the_reply(settings, model, code, status):
    mine = msgspec.structs.replace(
        settings, idle_timeout_s=0.3, ttft_timeout_s=0.5, total_timeout_s=1.0,
        answer_limit_bytes=200_000,
    )  # fmt: skip
    async with open_session(mine) as session:
        endpoint = Endpoint("sim", mine.sim_url + "/v1", WIRES["openai"])
        before = time.perf_counter()
        reply = await Caller(session, mine).call(endpoint, request(model), "id")
    assert (reply.error.code, reply.status) == (code, status)
    assert time.perf_counter() - before < 2
    assert isinstance(reply.stamps, Stamps)


async def test_nobody_listening_is_unreachable(settings):
    mine = msgspec.structs.replace(settings, egress_allow=("127.0.0.1:9",))
    async with open_session(mine) as session:
        endpoint = Endpoint("sim", "http://127.0.0.1:9", WIRES["openai"])
        reply = await Caller(session, mine).call(endpoint, request("fast"), "id")
    assert (reply.error.code, reply.status) == ("PROVIDER_UNREACHABLE", None)
