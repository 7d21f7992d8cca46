"""Bad input gets a clear 4xx in its dialect's envelope, and nothing is written."""

from io import BytesIO

import pytest

from db.domain.catalog import PROVIDERS
from tests.stack import open_stack

GOOD = {"kind": "benchmark", "models": ["sim/fast"], "runs": 1}
DEEP = b'{"provider_params":{"passthrough":' + b"[" * 100_000 + b"]" * 100_000 + b"}}"
ROUTES = [("/api/benchmark", 400), ("/api/runs", 422)]

BODIES = {
    "unknown model": ({"models": ["gpt-imaginary"]}, "gpt-imaginary"),
    "no model": ({"models": []}, "models"),
    "runs 0": ({"runs": 0}, "runs"),
    "runs 101": ({"runs": 101}, "runs"),
    "temperature 9": ({"temperature": 9}, "temperature"),
    "max_tokens 0": ({"max_tokens": 0}, "max_tokens"),
    "a number as text": ({"runs": "3"}, "runs"),
    "no tiers": ({"context_tiers": []}, "context_tiers"),
    "negative tier": ({"context_tiers": [-1]}, "context_tiers"),
    "only tiers that are too large": ({"context_tiers": [500_000]}, "context_tiers"),
    "concurrency 9999": ({"concurrency": 9999}, "concurrency"),
    "NUL in the prompt": ({"prompt": "a\0b"}, "NUL"),
    "huge number": ({"runs": 10**30}, "runs"),
    "another base": ({"provider_params": {"passthrough": {"api_base": "http://evil.test"}}}, "api_base"),
    "passthrough is no object": ({"provider_params": {"passthrough": 1}}, "passthrough"),
    "foreign target": ({"targets": [{"provider_key": "openai", "model_id": "sim/fast"}]}, "openai"),
}  # fmt: skip
RAW = {
    "text instead of JSON": (b"hello", {"Content-Type": "application/json"}, None, "JSON"),
    "plain text": (b'{"models":["sim/fast"]}', {"Content-Type": "text/plain"}, 415, "application/json"),
    "a form": (b"models=sim/fast", {"Content-Type": "application/x-www-form-urlencoded"}, 415, "JSON"),
    "empty": (b"", {"Content-Type": "application/json"}, None, ""),
    "deep JSON": (DEEP, {"Content-Type": "application/json"}, None, "deep"),
    "raw NUL": (b'{"models":["sim/fast\0"]}', {"Content-Type": "application/json"}, None, "NUL"),
    "invalid UTF-8": (b'{"prompt":"\xff\xfe"}', {"Content-Type": "application/json"}, None, "JSON"),
    "an array": (b"[]", {"Content-Type": "application/json"}, None, ""),
    "11 MB": (b'{"prompt":"' + b"x" * (11 << 20) + b'"}', {"Content-Type": "application/json"}, 413, "large"),
}  # fmt: skip


@pytest.fixture(scope="module")
async def calls(shared, stores):
    """One API on a database of its own; counts rows before and after each call."""
    url, pool = shared
    async with open_stack(url, stores.redis_url) as (_, client):

        async def call(method, path, **options):
            before = await count(pool)
            status, body = await client.call(method, path, **options)
            assert await count(pool) == before
            return status, body

        yield call


async def count(pool):
    return await pool.fetchrow(
        "select (select count(*) from runs), (select count(*) from slices), "
        "(select count(*) from run_events)"
    )


def assert_words(body, text):
    assert body.keys() >= {"detail", "code", "error"}
    assert body["detail"] == body["error"]
    assert text.lower() in body["detail"].lower()
    assert len(body["detail"]) < 2000
    assert "Traceback" not in body["detail"]


@pytest.mark.parametrize(("path", "invalid"), ROUTES)
@pytest.mark.parametrize("name", BODIES)
async def test_a_bad_field_is_named(calls, path, invalid, name):
    changes, text = BODIES[name]
    status, body = await calls("POST", path, json=GOOD | changes)
    assert (status, body["code"]) == (invalid, "VALIDATION_ERROR")
    assert_words(body, text)


@pytest.mark.parametrize(("path", "invalid"), ROUTES)
@pytest.mark.parametrize("name", RAW)
async def test_a_bad_body_is_refused(calls, path, invalid, name):
    data, headers, expected, text = RAW[name]
    status, body = await calls("POST", path, data=BytesIO(data), headers=headers)
    assert status == (expected or invalid)
    assert_words(body, text)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/benchmark"),
        ("PUT", "/api/runs"),
        ("DELETE", "/api/runs"),
        ("PATCH", "/healthz"),
    ],
)
async def test_a_wrong_method_is_405(calls, method, path):
    status, body = await calls(method, path)
    assert (status, body["code"]) == (405, "METHOD_NOT_ALLOWED")
    assert_words(body, "method")


@pytest.mark.parametrize(
    ("path", "shape"),
    [
        ("/api/no-such-thing", {"detail", "code", "error"}),
        ("/api/runs/x/no-such-thing", {"detail", "code", "error"}),
        ("/api/v1/agents/x/no-such-thing", {"error"}),
        ("/api/v1/evaluate/no-such-thing", {"error"}),
        ("/api/system/no-such-thing", {"error"}),
        ("/api/models/no-such-thing", {"error"}),
    ],
)
async def test_an_unknown_path_is_404_in_the_words_of_its_owner(calls, path, shape):
    status, body = await calls("GET", path)
    assert (status, body.keys()) == (404, shape)
    if path.startswith("/api/v1/evaluate"):
        assert body["error"]["code"] == "NOT_FOUND"


@pytest.mark.parametrize(
    "run_id", ["nonsense", "00000000-0000-4000-8000-000000000000", "%00", "..%2f.."]
)
@pytest.mark.parametrize("rest", ["", "/events", "/samples"])
async def test_an_unknown_run_is_404(calls, run_id, rest):
    status, body = await calls("GET", f"/api/runs/{run_id}{rest}")
    assert status == 404
    assert_words(body, "found")


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=-1", "limit=99999999999999999999", "limit=x", "status=odd"]
)
async def test_a_bad_query_is_422(calls, query):
    status, body = await calls("GET", f"/api/runs?{query}")
    assert (status, body["code"]) == (422, "VALIDATION_ERROR")
    assert_words(body, query.partition("=")[0])


async def test_a_bad_token_is_never_anonymous(calls):
    status, body = await calls("GET", "/api/runs", headers={"Authorization": "Bearer x"})
    assert (status, body["code"]) == (401, "AUTH_REQUIRED")


async def test_cancel_without_anything_to_cancel_is_fine(calls):
    for options in ({}, {"json": {}}, {"json": {"run_id": "00000000-0000-4000-8000-000000000000"}}):
        status, body = await calls("POST", "/api/benchmark/cancel", **options)
        assert (status, body["status"]) == (200, "ok")


def test_no_provider_of_the_catalog_is_on_this_machine():
    assert all("127.0.0.1" not in (provider.base_url or "") for provider in PROVIDERS.values())
