"""Whatever is asked, the answer is JSON in its dialect's envelope, never 5xx, and writes no row in vain."""

import json
from urllib.parse import quote

import aiohttp
import pytest
from hypothesis import HealthCheck, example, given, settings as profile, strategies as st
from yarl import URL

from api.app import DIALECTS
from api.errors import Speaker
from api.openbench.runs import RunSheet
from tests.stack import Client, Stack, until


def fuzz(examples):
    return profile(
        max_examples=examples,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


FIELDS = [*RunSheet.__struct_fields__, "run_id", "job_id", "passthrough", "api_key", "\0"]
ODD = [
    "",
    "\0",
    "null",
    "-1",
    "0",
    "1e400",
    "½",
    "\u2028",
    "a" * 300,
    "../..",
    "%00",
    "'--",
    "9" * 30,
    "sim/fast",
    "cancelled",
]
NUMBERS = (
    st.sampled_from([0, -1, 1, 2**31, 2**63, 2**64, 10**400, 1e308, 5e-324])
    | st.integers()
    | st.floats()
)
LEAVES = st.none() | st.booleans() | NUMBERS | st.text(max_size=20) | st.sampled_from(ODD)
JSON = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=15,
)
GOOD = {"kind": "benchmark", "models": ["sim/fast"], "runs": 1}
SHEETS = st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=3).map(GOOD.__or__)
RAW = (SHEETS | JSON).map(lambda value: json.dumps(value).encode())
BODIES = (
    RAW
    | st.binary(max_size=60)
    | st.tuples(RAW, st.integers(0, 80)).map(lambda pair: pair[0][: pair[1]])
)
SEGMENTS = st.sampled_from(
    ["api", "runs", "benchmark", "benchmarks", "cancel", "events", "samples", "v1", "evaluate", "models", "docs", "healthz",
     "00000000-0000-4000-8000-000000000000", ".", "..", "", "%00", "%ff", "%2e%2e"]
) | st.text(max_size=6).map(lambda text: quote(text.encode("utf-8", "replace"), safe=""))  # fmt: skip
PATHS = st.lists(SEGMENTS, max_size=5).map(lambda parts: "/" + "/".join(parts))
NAMES = st.sampled_from(
    ["limit", "status", "kind", "search", "after", "stream", "last_event_id", "page", "x"]
)
QUERIES = st.lists(st.tuples(NAMES, st.sampled_from(ODD) | st.text(max_size=8)), max_size=3).map(
    lambda pairs: "&".join(
        f"{name}={quote(value.encode('utf-8', 'replace'))}" for name, value in pairs
    )
)
PRINTABLE = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20).map(str.strip)
HEADERS = st.dictionaries(
    st.sampled_from(["Accept", "Content-Type", "Last-Event-ID", "X-Request-Id", "Origin", "Cookie", "Range", "Accept-Encoding",
                     "X-HTTP-Method-Override", "Content-Encoding"]),
    PRINTABLE | st.sampled_from(["application/json", "text/event-stream", "*/*", "9" * 17, "gzip"]),
    max_size=3,
)  # fmt: skip
METHODS = st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"])
SPEAKER = Speaker(DIALECTS)
COUNT = "select (select count(*) from runs) + (select count(*) from slices) + (select count(*) from run_events)"


class Fuzzed:
    """A client that judges every answer."""

    def __init__(self, client, pool):
        self.client, self.pool = client, pool

    async def send(self, method, target, body=None, headers=None):
        before = await self.pool.fetchval(COUNT)
        url = URL(self.client.stack.url + target, encoded=True)
        async with self.client.session.request(
            method, url, data=body, headers=headers, allow_redirects=False
        ) as response:
            status, media = response.status, response.headers.get("Content-Type", "")
            stream = media.startswith("text/event-stream")
            text = b"" if stream else await response.read()
        assert status < 500, text
        if status >= 400 and method != "HEAD":
            self.judge(url.path, media, text)
        if status >= 400 or method in ("GET", "HEAD", "OPTIONS"):
            assert await self.pool.fetchval(COUNT) == before
        return status

    def judge(self, path, media, text):
        assert media == "application/json"
        content = json.loads(text)
        owner = SPEAKER.owner(path).name
        keys = {"detail", "code", "error"} if owner in ("studio", "openbench") else {"error"}
        assert content.keys() == keys
        assert len(text) < 5000
        assert b"Traceback" not in text


@pytest.fixture(scope="module")
async def fuzzed(shared, stores):
    """Serve from a process, on a database of its own."""
    url, pool = shared
    stack = Stack(url, stores.redis_url)
    await stack.start("api")
    await until(lambda: stack._answers(f"{stack.url}/readyz"))
    timeout = aiohttp.ClientTimeout(total=20)
    async with aiohttp.ClientSession(
        timeout=timeout, skip_auto_headers=["Content-Type"]
    ) as session:
        yield Fuzzed(Client(stack, session), pool)
    await stack.stop("api", 9)


@fuzz(150)
@given(
    path=st.sampled_from(["/api/runs", "/api/benchmark?stream=false", "/api/benchmark/cancel"]),
    body=BODIES,
)
@example(path="/api/runs", body=json.dumps(GOOD | {"prompt": "a\0b"}).encode())
@example(path="/api/runs", body=json.dumps(GOOD | {"provider_params": {"x": 2**64}}).encode())
async def test_any_body_is_taken_or_refused_in_words(fuzzed, path, body):
    await fuzzed.send("POST", path, body, {"Content-Type": "application/json"})


@fuzz(60)
@given(
    path=st.sampled_from(["/api/runs", "/api/runs/00000000-0000-4000-8000-000000000000/samples"]),
    query=QUERIES,
)
async def test_any_query_is_answered_or_refused_in_words(fuzzed, path, query):
    assert await fuzzed.send("GET", f"{path}?{query}") in (200, 404, 422)


@fuzz(90)
@given(method=METHODS, path=PATHS, headers=HEADERS, body=st.none() | BODIES)
async def test_any_method_path_and_headers_are_answered_in_the_owners_words(
    fuzzed, method, path, headers, body
):
    await fuzzed.send(method, path, body, headers)
