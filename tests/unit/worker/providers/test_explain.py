"""The error text of an answer that is no success."""

import pytest

from worker.providers.table import WIRES

TEXTS = {
    b'{"error":{"message":"Bad  key\\n given","type":"auth"}}': "Bad key given",
    b'{"type":"error","error":{"type":"auth","message":"Bad key"}}': "Bad key",
    b'[{"error":{"code":400,"message":"Bad key","status":"INVALID"}}]': "Bad key",
    b'{"error":"Bad key"}': "Bad key",
    b'{"object":"error","message":"Bad key"}': "Bad key",
    b'{"detail":"Bad key"}': "Bad key",
    b"<html>\x00\x1b[31mBad \r\n gateway</html>": "<html> [31mBad gateway</html>",
    b'{"odd":1}': '{"odd":1}',
    b"\xff\xfe": "\ufffd\ufffd",
    b"": "",
    b"[]": "[]",
    b'{"error":{"message":7}}': '{"error":{"message":7}}',
}


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("body", TEXTS)
def test_texts(wire, body):
    assert WIRES[wire].explain(body) == TEXTS[body]


@pytest.mark.parametrize("wire", WIRES)
def test_lengths_are_bounded(wire):
    long = WIRES[wire].explain(b'{"error":{"message":"' + b"word " * 10_000 + b'"}}')
    assert (len(long), long[-1]) == (300, "…")
    assert len(WIRES[wire].explain(b"x" * 50_000_000)) == 200
    assert WIRES[wire].explain(b"[" * 1_000_000).startswith("[")
