"""The one speaker: whose path it is, which status, in which envelope."""

import json
import logging
from types import SimpleNamespace

import asyncpg
import pytest
from litestar.exceptions import (
    ClientException,
    HTTPException,
    InternalServerException,
    MethodNotAllowedException,
    NotFoundException,
)

from api.app import DIALECTS
from api.errors import Speaker
from db.domain import errors

SPEAKER = Speaker(DIALECTS)
OWNERS = {
    "/": "studio",
    "/api": "studio",
    "/api/benchmark": "studio",
    "/api/benchmark/cancel": "studio",
    "/api/benchmarks": "openbench",
    "/api/benchmarks/mmlu": "openbench",
    "/api/benchmarks/run": "flperf",
    "/api/benchmarks/running": "openbench",
    "/api/benchmarks/runs": "flperf",
    "/api/benchmarks/runs/x": "flperf",
    "/api/benchmarks/suites": "flperf",
    "/api/runs": "openbench",
    "/api/runs/x/events": "openbench",
    "/api/runsx": "studio",
    "/api/models": "flperf",
    "/api/modelsx": "studio",
    "/api/v1": "kitt",
    "/api/v1/": "kitt",
    "/api/v1/agents": "kitt",
    "/api/v1/benchmark": "aieval",
    "/api/v1/benchmark/x": "aieval",
    "/api/v1/benchmarks": "kitt",
    "/api/v1/evaluate": "aieval",
    "/api/v1/suite": "aieval",
    "/api/v1/suites": "aieval",
    "/api/v10": "studio",
    "/health": "aieval",
    "/healthz": "studio",
    "/docs": "openbench",
    "/metrics": "openbench",
}
PATHS = {
    "studio": "/api/benchmark",
    "openbench": "/api/runs",
    "aieval": "/api/v1/evaluate",
    "kitt": "/api/v1/agents",
    "flperf": "/api/system",
}


def tree(kind=errors.AppError):
    return [kind, *(sub for child in kind.__subclasses__() for sub in tree(child))]


def speak(error, path="/api/runs", method="GET"):
    """Let the speaker word an error; gives status, headers and the decoded body."""
    request = SimpleNamespace(scope={"path": path, "state": {}}, method=method)
    response = SPEAKER(request, error)
    assert response.media_type == "application/json"
    json.dumps(response.content)
    return response.status_code, dict(response.headers), response.content


def message(name, content):
    """Read the text of an envelope, which must have exactly its dialect's keys."""
    if name in ("kitt", "flperf"):
        assert content.keys() == {"error"}
        return content["error"]
    if name == "aieval":
        assert content.keys() == {"error"}
        assert content["error"].keys() == {"code", "message"}
        return content["error"]["message"]
    assert content.keys() == {"detail", "code", "error"}
    assert content["detail"] == content["error"]
    return content["detail"]


@pytest.mark.parametrize("path", OWNERS)
def test_a_path_belongs_to_the_longest_prefix_that_ends_at_a_segment(path):
    assert SPEAKER.owner(path).name == OWNERS[path]


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize("kind", tree(), ids=lambda kind: kind.__name__)
def test_every_error_has_a_status_and_an_envelope_in_every_dialect(kind, name):
    status, _, content = speak(kind(), PATHS[name])
    assert 400 <= status < 600
    said = message(name, content)
    if issubclass(kind, errors.Invalid):
        assert status == (422 if name == "openbench" else 400)
    expected = "Internal server error." if kind is errors.AppError else kind.__doc__.strip()
    assert said == expected


@pytest.mark.parametrize(
    ("kind", "name", "status", "code"),
    [
        (errors.RunNotFound, "openbench", 404, "RUN_NOT_FOUND"),
        (errors.UnknownModel, "studio", 400, "VALIDATION_ERROR"),
        (errors.UnknownModel, "openbench", 422, "VALIDATION_ERROR"),
        (errors.UnknownModel, "aieval", 400, "INVALID_REQUEST"),
        (errors.NotFound, "aieval", 404, "NOT_FOUND"),
        (errors.ProviderTimeout, "aieval", 504, "TIMEOUT"),
        (errors.ProviderRefused, "aieval", 502, "PROVIDER_ERROR"),
        (errors.ProviderRefused, "studio", 502, "EXTERNAL_SERVICE_ERROR"),
        (errors.ProviderTimeout, "studio", 504, "EXTERNAL_TIMEOUT"),
        (errors.Unauthenticated, "studio", 401, "AUTH_REQUIRED"),
        (errors.RunStillRunning, "openbench", 400, "RUN_STILL_RUNNING"),
        (errors.RunNotRunning, "openbench", 400, "RUN_NOT_RUNNING"),
    ],
)
def test_documented_codes_are_kept(kind, name, status, code):
    answered, _, content = speak(kind(), PATHS[name])
    assert answered == status
    assert (content["error"]["code"] if name == "aieval" else content["code"]) == code


def test_a_provider_that_fails_is_flperfs_503():
    assert speak(errors.ProviderRefused(), "/api/system/x")[0] == 503


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize(
    "error",
    [
        KeyError("sesame"),
        ValueError("sesame"),
        InternalServerException("sesame"),
        HTTPException("sesame"),
    ],
)
def test_the_unforeseen_is_logged_once_with_its_traceback_and_worded_blandly(name, error, caplog):
    with pytest.raises(type(error)) as raised:  # now it has a traceback
        raise error
    status, _, content = speak(raised.value, PATHS[name])
    assert status == 500
    assert message(name, content) == "Internal server error."
    assert "sesame" not in json.dumps(content)
    [record] = caplog.records
    assert record.levelno == logging.ERROR
    assert record.exc_info[1] is error
    assert record.exc_info[2] is not None
    assert PATHS[name] in record.message


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError(),
        TimeoutError(),
        asyncpg.ConnectionDoesNotExistError(),
        asyncpg.InterfaceError("pool is closed"),
        asyncpg.TooManyConnectionsError(),
        asyncpg.AdminShutdownError(),
        asyncpg.CannotConnectNowError(),
        asyncpg.ReadOnlySQLTransactionError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_database_that_is_away_is_503_and_worth_another_try(error, caplog):
    status, headers, content = speak(error)
    assert (status, content["code"], headers["Retry-After"]) == (503, "SERVER_UNAVAILABLE", "2")
    assert not caplog.records


def test_a_body_that_is_too_deep_is_the_clients_fault():
    status, _, content = speak(RecursionError())
    assert (status, content["code"]) == (422, "VALIDATION_ERROR")
    assert "deep" in content["detail"]


def test_401_names_the_scheme_and_429_when_to_come_back():
    assert speak(errors.Unauthenticated())[1]["WWW-Authenticate"] == "Bearer"
    status, headers, _ = speak(errors.TooMany(retry_after_s=17))
    assert (status, headers["Retry-After"]) == (429, "17")


def test_litestars_own_errors_are_worded_by_us():
    assert speak(NotFoundException("route /x"))[2]["detail"] == "Not found."
    status, headers, content = speak(MethodNotAllowedException(headers={"allow": "GET"}))
    assert (status, headers["Allow"], content["code"]) == (405, "GET", "METHOD_NOT_ALLOWED")
    assert speak(ClientException("what is wrong"))[2]["detail"] == "what is wrong"
