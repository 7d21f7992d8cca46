"""Which run a name means, and how the API's refusals end the command."""

import pytest

from api.cli import exits
from api.cli.client import choose, refused
from api.cli.exits import Ended

IDS = ["aa11", "aa22", "bb33"]


@pytest.mark.parametrize(("name", "found"), [("@last", "aa11"), ("b", "bb33"), ("AA2", "aa22")])
def test_a_name_finds_its_run(name, found):
    assert choose(name, IDS) == found


@pytest.mark.parametrize(
    ("name", "ids", "code", "said"),
    [
        ("aa", IDS, exits.USAGE, "aa11, aa22"),
        ("cc", IDS, exits.NOT_FOUND, "'cc'"),
        ("@last", [], exits.NOT_FOUND, "no run yet"),
    ],
)
def test_a_name_that_means_no_one_run(name, ids, code, said):
    with pytest.raises(Ended, match=said) as caught:
        choose(name, ids)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (422, b'{"error":"runs: too many","code":"VALIDATION_ERROR"}', exits.INVALID),
        (400, b'{"error":"bad","code":"VALIDATION_ERROR"}', exits.INVALID),
        (400, b'{"error":"not running","code":"RUN_NOT_RUNNING"}', exits.FAILURE),
        (404, b'{"error":"Run not found","code":"RUN_NOT_FOUND"}', exits.NOT_FOUND),
        (500, b'{"error":"Internal server error."}', exits.FAILURE),
        (200, b"<html>", exits.UNREACHABLE),
        (404, b'["nginx"]', exits.UNREACHABLE),
    ],
)
def test_refusals_have_exit_codes(status, body, code):
    assert refused("http://x", status, body).code == code
