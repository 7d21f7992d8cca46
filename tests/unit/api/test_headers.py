"""Request ids, and where a client says it stopped to read."""

from types import SimpleNamespace
from uuid import UUID

import pytest
from hypothesis import given, strategies as st

from api.headers import REQUEST_ID, add_headers
from api.stream import last_event_id


async def ask(**headers):
    """Send a request through the wrapper; gives the scope's and the answer's request id."""
    seen = {}

    async def app(scope, receive, send):
        seen["scope"] = scope["state"]["request_id"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def send(message):
        if message["type"] == "http.response.start":
            seen["answer"] = dict(message["headers"])[b"x-request-id"].decode()

    raw = [
        (name.replace("_", "-").encode(), value.encode("latin-1"))
        for name, value in headers.items()
    ]
    await add_headers(app)({"type": "http", "path": "/", "headers": raw, "state": {}}, None, send)
    return seen["scope"], seen["answer"]


@pytest.mark.parametrize("given_id", ["a" * 8, "A-b_9" * 12, "0" * 64])
async def test_an_acceptable_request_id_is_kept(given_id):
    assert await ask(x_request_id=given_id) == (given_id, given_id)


@pytest.mark.parametrize(
    "given_id",
    [
        "",
        "short",
        "a" * 65,
        "a b c d e f",
        "12345678\r\nX: y",
        "ää-ää-ää",
        "12345678\n",
        "../../../../x",
    ],
)
async def test_any_other_request_id_is_replaced(given_id):
    inside, outside = await ask(x_request_id=given_id)
    assert inside == outside != given_id
    assert UUID(inside).version == 4


async def test_without_a_request_id_each_request_gets_its_own():
    assert (await ask())[0] != (await ask())[0]


@given(st.text())
def test_what_is_kept_can_stand_in_a_header_and_in_a_log(text):
    if REQUEST_ID.fullmatch(text):
        assert text.isascii()
        assert text.isprintable()
        assert not set(text) & set(" \"',;:")


def request(header=None, query=None):
    headers = {} if header is None else {"Last-Event-ID": header}
    return SimpleNamespace(
        headers=headers, query_params={} if query is None else {"last_event_id": query}
    )


@given(st.text() | st.integers().map(str) | st.from_regex(r"[0-9]{1,25}", fullmatch=True))
def test_any_last_event_id_is_a_number_postgres_can_hold(text):
    found = last_event_id(request(text))
    assert 0 <= found < 2**63
    if found:
        assert int(text) == found


@pytest.mark.parametrize("nonsense", ["-1", "+1", "1e9", "½", "²", "٣", " 7", "", "9" * 18])
def test_nonsense_reads_from_the_start(nonsense):
    assert last_event_id(request(nonsense)) == 0


def test_the_header_wins_over_the_query():
    assert last_event_id(request("7", "3")) == 7
    assert last_event_id(request(None, "3")) == 3
    assert last_event_id(request()) == 0
