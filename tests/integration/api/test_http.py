"""What every answer carries, who may read it from another origin, and readiness."""

import asyncio
import shutil
import tempfile
from pathlib import Path

import msgspec
import pytest

from db.embedded.stores import open_stores
from db.migrate import migrate
from db.pool import open_pool
from db.queue import close_redis, open_redis
from tests.stack import until

WALLS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "strict-origin-when-cross-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=()",
}
ANSWERS = [
    ("GET", "/healthz", 200),
    ("GET", "/docs", 200),
    ("GET", "/ui/vendor/swagger-ui.css", 200),
    ("GET", "/nope", 404),
    ("GET", "/schema", 404),
    ("GET", "/api/nope", 404),
    ("GET", "/api/v1/nope", 404),
    ("GET", "/api/runs/nope", 404),
    ("PATCH", "/healthz", 405),
    ("POST", "/api/runs", 422),
    ("GET", "/api/runs?limit=0", 422),
    ("OPTIONS", "/api/runs", 204),
]
PATHS = [
    "/healthz",
    "/api/runs",
    "/api/runs/x/events",
    "/api/benchmark",
    "/docs",
    "/openapi.json",
    "/nope",
]


@pytest.fixture
async def bare(serve, settings):
    """Serve with one origin allowed."""
    changed = msgspec.structs.replace(settings, cors_origins=("https://good.test",))
    async with serve(changed) as one:
        yield one


async def test_every_answer_has_the_browsers_walls_and_a_request_id(served, make_log):
    log = await make_log()
    for method, path, expected in ANSWERS:
        status, headers, _ = await served.call(method, path)
        assert (path, status) == (path, expected)
        assert_walls(headers)
    async with served.session.get(f"{served.url}/api/runs/{log.run_id}/events") as response:
        assert_walls(response.headers)
        assert response.headers["Cache-Control"] == "no-cache, no-store, must-revalidate"
        assert response.headers["X-Accel-Buffering"] == "no"
        assert response.headers["X-Run-Id"] == str(log.run_id)
        assert response.headers["Location"] == f"/api/runs/{log.run_id}"
        assert await response.content.readline() == b"retry: 2000\n"


def assert_walls(headers):
    for name, value in WALLS.items():
        assert headers.getall(name) == [value]
    [policy] = headers.getall("Content-Security-Policy")
    assert policy.startswith("default-src 'none'")
    assert "http" not in policy
    assert len(headers.getall("X-Request-Id")) == 1


async def test_only_the_documentation_may_run_inline_scripts(served):
    for path in ("/docs", "/docs/", "/redoc"):
        _, headers, _ = await served.call("GET", path)
        assert "script-src 'self' 'unsafe-inline'" in headers["Content-Security-Policy"]
    for path in ("/", "/healthz", "/docsx", "/nope"):
        _, headers, _ = await served.call("GET", path)
        assert "unsafe-inline" not in headers["Content-Security-Policy"]


async def test_an_unknown_path_is_json_at_every_depth(served):
    for path in ("/nope", "/schema", "/nope/nope", "/docs/nope", "/api", "/ui/vendor/nope.js"):
        status, headers, body = await served.call("GET", path)
        assert (path, status, headers["Content-Type"]) == (path, 404, "application/json")
        assert msgspec.json.decode(body)["code"] == "RESOURCE_NOT_FOUND"


async def test_a_wrong_method_says_which_would_do(served):
    _, headers, _ = await served.call("PUT", "/api/runs")
    assert {"GET", "POST"} <= set(headers["Allow"].split(", "))


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "TRACE"])
async def test_odd_methods_are_no_server_errors(served, method):
    for path in PATHS:
        status, _, body = await served.call(method, path)
        assert status < 500
        assert method != "HEAD" or not body


async def test_no_other_origin_may_read_by_default(served):
    for origin in ("https://evil.test", "null", "http://127.0.0.1:3000"):
        for method in ("GET", "OPTIONS"):
            asked = {"Origin": origin, "Access-Control-Request-Method": "GET"}
            _, headers, _ = await served.call(method, "/api/runs", headers=asked)
            assert not [name for name in headers if name.startswith("Access-Control")]


async def test_only_configured_origins_may_read(bare):
    for path in ("/api/runs", "/nope", "/api/runs/nope/events"):
        _, headers, _ = await bare.call("GET", path, headers={"Origin": "https://good.test"})
        assert headers["Access-Control-Allow-Origin"] == "https://good.test"
        assert headers["Access-Control-Allow-Credentials"] == "true"
        for origin in (
            "https://evil.test",
            "null",
            "https://good.test.evil.test",
            "https://xgood.test",
        ):
            _, headers, _ = await bare.call("GET", path, headers={"Origin": origin})
            assert "Access-Control-Allow-Origin" not in headers


async def test_an_origin_for_everybody_is_never_given_credentials(serve, settings):
    async with serve(msgspec.structs.replace(settings, cors_origins=("*",))) as one:
        asked = {"Origin": "https://evil.test", "Cookie": "a=b"}
        _, headers, _ = await one.call("GET", "/api/runs", headers=asked)
        assert "Access-Control-Allow-Credentials" not in headers


async def test_paths_that_do_not_exist_make_one_series_whatever_their_number(served):
    for number in range(20):
        await served.call("GET", f"/nope-{number}")
        await served.call("GET", f"/api/runs/nope-{number}")
    _, _, body = await served.call("GET", "/metrics")
    text = body.decode()
    assert "nope-" not in text
    assert 'assay_http_requests_total{method="GET",route="unknown",status_class="4xx"}' in text
    assert (
        'assay_http_requests_total{method="GET",route="/api/runs/{run_id}",status_class="4xx"}'
        in text
    )


async def test_without_postgres_it_is_alive_but_not_ready(serve, settings, redis):
    data = Path(tempfile.mkdtemp(prefix="assay-", dir="/tmp"))
    postgres = open_stores(data, durable=False, valkey=False)
    opened = await postgres.__aenter__()
    pool = await open_pool(opened.database_url, 1)
    await migrate(pool)
    await pool.close()
    async with serve(msgspec.structs.replace(settings, database_url=opened.database_url)) as one:
        status, _, body = await one.call("GET", "/readyz")
        assert (status, body) == (200, b'{"status":"ok","postgres":"ok","redis":"ok"}')
        await postgres.__aexit__(None, None, None)
        status, headers, body = await one.call("GET", "/readyz")
        answer = msgspec.json.decode(body)
        assert (status, answer["status"], answer["redis"]) == (503, "unavailable", "ok")
        assert answer.keys() == {"status", "postgres", "redis"}
        assert answer["postgres"] != "ok"
        assert (await one.call("GET", "/healthz"))[0] == 200
        for method, path in (("GET", "/api/runs"), ("POST", "/api/benchmark")):
            status, headers, body = await one.call(method, path, **body_of(method))
            answer = msgspec.json.decode(body)
            assert (status, answer["code"], headers["Retry-After"]) == (
                503,
                "SERVER_UNAVAILABLE",
                "2",
            )
    shutil.rmtree(data, ignore_errors=True)


def body_of(method):
    return {"json": {"models": ["sim/fast"]}} if method == "POST" else {}


async def test_streams_go_on_from_the_table_while_redis_is_away_and_after(
    serve, settings, make_log
):
    data = Path(tempfile.mkdtemp(prefix="assay-", dir="/tmp"))
    valkey = open_stores(data, durable=False, postgres=False)
    opened = await valkey.__aenter__()
    redis = open_redis(opened.redis_url)
    log = await make_log(redis=redis)
    event = ("result", b'{"n":1}')
    changed = msgspec.structs.replace(settings, redis_url=opened.redis_url)
    async with serve(changed) as one, one.follow(log.run_id) as events:
        assert await next_id(events) == 1
        await log.tell(event)
        assert await next_id(events) == 2
        await valkey.__aexit__(None, None, None)
        for expected in (3, 4):
            await log.commit(event)
            assert await next_id(events) == expected
        async with one.follow(log.run_id, after=3) as late:
            assert await next_id(late) == 4
        assert (await one.call("GET", "/readyz"))[0] == 200
        valkey = open_stores(data, durable=False, postgres=False)
        await valkey.__aenter__()
        await until(lambda: listens(log), within_s=8)
        await log.tell(event)
        assert await next_id(events) == 5
        await log.end()
        assert await next_id(events) == 6
    await close_redis(redis)
    await valkey.__aexit__(None, None, None)
    shutil.rmtree(data, ignore_errors=True)


async def listens(log):
    try:
        return await log.listeners() == 1
    except OSError:
        return False


async def next_id(events, within_s=4.0):
    async with asyncio.timeout(within_s):
        async for event in events:
            if "id" in event:
                return int(event["id"])
    pytest.fail("the stream ended")
