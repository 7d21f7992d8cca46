"""Every route, by a table written without looking at the app: who may call it, and who words it."""

import csv
import json
import re
from pathlib import Path

import pytest

from api.app import DIALECTS, create_app
from api.errors import Speaker
from db.settings import Settings

HERE = Path(__file__).parent
ROWS = list(csv.DictReader((HERE / "routes.tsv").read_text().splitlines(), delimiter="\t"))
NAMES = [f"{row['method']} {row['path']}" for row in ROWS]
UNDOCUMENTED = {"/", "/docs", "/redoc", "/openapi.json", "/ui/vendor/{file}"}
SHEET = {"models": ["sim/fast"], "runs": 1, "kind": "benchmark", "visibility": "private"}
ENVELOPES = {"studio": {"detail", "code", "error"}, "openbench": {"detail", "code", "error"}}
NOBODY = "00000000-0000-4000-8000-000000000000"


@pytest.fixture(scope="module")
def app():
    return create_app(Settings(auth="open"))


def plain(path):
    """Write a route's template as the table does."""
    path = "/ui/vendor/{file}" if path.startswith("/ui/vendor") else path
    return re.sub(r":\w+}", "}", path)


def test_the_app_has_exactly_the_routes_of_the_table(app):
    served = {
        (method, plain(route.path))
        for route in app.routes
        for method in route.methods
        if method != "OPTIONS"
    }
    assert served == {(row["method"], row["path"]) for row in ROWS}


@pytest.mark.parametrize("row", ROWS, ids=NAMES)
def test_the_dialect_that_words_a_route_is_the_one_that_documents_it(row):
    assert Speaker(DIALECTS).owner(row["path"]).name == row["dialect"]


async def call(client, row, run_id, **options):
    """Call a route of the table; gives status, headers, and the body unless it is a stream."""
    path = row["path"].replace("{run_id}", run_id).replace("{file}", "swagger-ui.css")
    if row["method"] == "POST" and row["path"] in ("/api/runs", "/api/benchmark"):
        options["json"] = SHEET
    headers = {"Accept": "application/json"} | options.pop("headers", {})
    url = client.stack.url + path
    async with client.session.request(row["method"], url, headers=headers, **options) as response:
        stream = response.headers.get("Content-Type", "").startswith("text/event-stream")
        if stream or row["method"] == "HEAD":
            return response.status, response.headers, None
        return response.status, response.headers, await response.read()


@pytest.mark.parametrize("row", ROWS, ids=NAMES)
async def test_in_open_mode_every_route_answers_without_a_token(opened, row):
    run_id = await opened.submit(**{**SHEET, "kind": "benchmark"})
    status, _, body = await call(opened, row, run_id)
    assert status == int(row["good"]), body


@pytest.mark.parametrize("row", ROWS, ids=NAMES)
async def test_in_required_mode_only_public_routes_answer_without_a_token(opened, required, row):
    private = await opened.submit(**SHEET)
    status, headers, body = await call(required, row, private)
    if row["auth"] == "none":
        assert status == int(row["good"]), body
    elif row["auth"] == "user":
        assert (status, headers["WWW-Authenticate"]) == (401, "Bearer")
        assert json.loads(body).keys() == ENVELOPES[row["dialect"]]
        assert json.loads(body)["code"] == "AUTH_REQUIRED"
    elif "{run_id}" in row["path"]:
        assert (status, json.loads(body)["code"]) == (404, "RUN_NOT_FOUND")
    else:
        assert (status, body) == (200, b"[]")


@pytest.mark.parametrize(
    "row", [r for r in ROWS if r["auth"] != "none"], ids=lambda r: f"{r['method']} {r['path']}"
)
async def test_a_bad_token_is_401_in_both_modes(opened, required, row):
    for client in (opened, required):
        status, _, body = await call(
            client, row, NOBODY, headers={"Authorization": "Bearer nonsense"}
        )
        assert (status, json.loads(body)["code"]) == (401, "AUTH_REQUIRED")


async def test_an_unlisted_run_is_read_and_followed_by_whoever_has_its_id(opened, required):
    run_id = await opened.submit(**SHEET | {"visibility": "unlisted"})
    for row in ROWS:
        if "{run_id}" in row["path"] and row["method"] == "GET":
            assert (await call(required, row, run_id))[0] == 200
    assert await required.call("GET", "/api/runs") == (200, [])


async def test_every_documented_operation_has_tags_and_a_summary(opened):
    _, document = await opened.call("GET", "/openapi.json")
    found = {
        (method.upper(), path): operation
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method in ("get", "post", "put", "patch", "delete")
    }
    wanted = {(row["method"], row["path"]) for row in ROWS if row["path"] not in UNDOCUMENTED}
    assert found.keys() == wanted
    for key, operation in found.items():
        assert operation["tags"], key
        assert operation["summary"], key
        assert operation["description"], key
        assert any(status.startswith("2") for status in operation["responses"]), key
    ids = [operation["operationId"] for operation in found.values()]
    assert len(ids) == len(set(ids))


async def test_the_benchmark_body_is_documented_with_its_bounds(opened):
    _, document = await opened.call("GET", "/openapi.json")
    body = document["paths"]["/api/benchmark"]["post"]["requestBody"]
    reference = body["content"]["application/json"]["schema"]["$ref"]
    fields = document["components"]["schemas"][reference.rpartition("/")[2]]["properties"]
    bounds = {name: (fields[name]["minimum"], fields[name]["maximum"], fields[name]["default"])
              for name in ("runs", "max_tokens", "temperature")}  # fmt: skip
    assert bounds == {
        "runs": (1, 100, 3),
        "max_tokens": (1, 131_072, 512),
        "temperature": (0, 2, 0.7),
    }
    assert (fields["context_tiers"]["minItems"], fields["context_tiers"]["maxItems"]) == (1, 20)
