"""What breaks the protocol is told as BadResponse or Refused, and what came before is kept."""

import json
import math

import pytest

from worker.providers.table import WIRES
from worker.providers.wire import BadResponse, Refused, Text, Usage

OK = {
    "openai": '{"id":"c","choices":[{"index":0,"delta":{"content":"é"}}]}',
    "anthropic": '{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"é"}}',
    "gemini": '{"candidates":[{"content":{"parts":[{"text":"é"}]}}]}',
}
END = {
    "openai": '{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}',
    "anthropic": '{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{}}',
    "gemini": '{"candidates":[{"content":{},"finishReason":"STOP"}]}',
}


def event(text):
    return b"data: " + (text if isinstance(text, bytes) else text.encode()) + b"\n\n"


# Each stands alone for a stream of any wire.
ANYWHERE = {
    "nothing": b"",
    "blank lines": b"\n\n\n\n",
    "html": b"<!DOCTYPE html>\n<html><body>502 Bad Gateway</body></html>\n\n",
    "plain words": b"upstream connect error\n\n",
    "only comments": b": ping\n\n" * 5,
    "a json body in place of a stream": b'{"id":"x"}',
    "truncated json": event('{"id":"c","choi'),
    "bad data line": event("{bad"),
    "not an object": event("[1,2]"),
    "null": event("null"),
    "a number": event("12"),
    "a string": event('"hello"'),
    "no data": event(""),
    "empty object": event("{}"),
    "two objects in one event": event('{"a":1}{"b":2}'),
    "invalid utf-8": event(b'{"id":"\xff\xfe"}'),
    "lone surrogate": event('{"id":"\\ud800"}'),
    "nested too deep": event("[" * 100_000),
    "binary": bytes(range(256)) * 4,
    "gzip": b"\x1f\x8b\x08\x00" + b"\x00" * 60,
    "html in a data line": event("<html>"),
    "half a last event": b'data: {"id":"c","choices"',
    "10 MB line": b"data: " + b"x" * 10_000_000,
    "10 MB comment": b":" + b"x" * 10_000_000,
    "BOM and nothing": b"\xef\xbb\xbf",
}
OWN = {
    "openai": {
        "only done": event("[DONE]"),
        "missing choices": event('{"id":"c","object":"chat.completion.chunk"}'),
        "choices a string": event('{"choices":"none"}'),
        "content a number": event('{"choices":[{"delta":{"content":5}}]}'),
        "delta a list": event('{"choices":[{"delta":[]}]}'),
        "cut": event(OK["openai"]),
        "cut but done": event(OK["openai"]) + event("[DONE]"),
    },
    "anthropic": {
        "no type": event('{"index":0}'),
        "delta missing": event('{"type":"content_block_delta","index":0}'),
        "block missing": event('{"type":"content_block_start","index":0}'),
        "message missing": event('{"type":"message_start"}'),
        "text a number": event('{"type":"content_block_delta","delta":{"text":1}}'),
        "a tool from nowhere": event('{"type":"content_block_delta","delta":{"partial_json":"{"}}'),
        "stop without a reason": event(OK["anthropic"]) + event('{"type":"message_stop"}'),
    },
    "gemini": {
        "missing candidates": event('{"responseId":"x"}'),
        "candidates an object": event('{"candidates":{}}'),
        "parts a string": event('{"candidates":[{"content":{"parts":"x"}}]}'),
        "cut": event(OK["gemini"]),
        "unspecified": event('{"candidates":[{"finishReason":"FINISH_REASON_UNSPECIFIED"}]}'),
    },
}
GARBAGE = [(w, name, data) for w in WIRES for name, data in (ANYWHERE | OWN[w]).items()]


def drain(wire, chunks):
    """Return the deltas that came before the failure, and the failure."""
    decoder, deltas = WIRES[wire].decoder(), []
    try:
        for chunk in chunks:
            deltas += decoder.feed(chunk)
        deltas += decoder.close()
    except (BadResponse, Refused) as failure:
        return deltas, failure
    return deltas, None


def ways(data):
    size = 1 if len(data) < 5000 else 65536
    return [data], [data[at : at + size] for at in range(0, len(data), size)]


@pytest.mark.parametrize(("wire", "name", "data"), GARBAGE, ids=[f"{w}-{n}" for w, n, _ in GARBAGE])
def test_garbage_is_a_bad_response_however_cut(wire, name, data):
    for chunks in ways(data):
        failure = drain(wire, chunks)[1]
        assert isinstance(failure, BadResponse)
        assert len(str(failure)) < 400


@pytest.mark.parametrize("wire", WIRES)
def test_garbage_after_a_good_beginning_keeps_the_beginning(wire):
    for bad in (event("{bad"), b"data: " + b"x" * 10_000_000):
        for chunks in ways(event(OK[wire]) + bad + event(END[wire])):
            deltas, failure = drain(wire, chunks)
            assert Text("é") in deltas
            assert isinstance(failure, BadResponse)


ERRORS = {
    "openai": [
        '{"error":{"message":"overloaded","code":"busy"}}',
        '{"error":{"message":"overloaded","type":"busy"},"choices":[]}',
    ],
    "anthropic": ['{"type":"error","error":{"type":"busy","message":"overloaded"}}'],
    "gemini": [
        '{"error":{"code":"busy","message":"overloaded"}}',
        '{"error":{"message":"overloaded","status":"busy"}}',
    ],
}


@pytest.mark.parametrize(
    ("wire", "text"), [(w, text) for w, texts in ERRORS.items() for text in texts]
)
def test_an_error_inside_a_stream_is_a_refusal_however_cut(wire, text):
    for chunks in ways(event(OK[wire]) + event(text) + event(END[wire])):
        deltas, failure = drain(wire, chunks)
        assert Text("é") in deltas
        assert isinstance(failure, Refused)
        assert (str(failure), failure.code) == ("overloaded", "busy")


@pytest.mark.parametrize(
    ("wire", "text"), [(w, text) for w, texts in ERRORS.items() for text in texts]
)
def test_an_error_in_a_whole_answer_is_a_refusal(wire, text):
    with pytest.raises(Refused, match="overloaded"):
        WIRES[wire].decode(text.encode())


HOLES = [
    ("openai", '{"id":"c"}'),
    ("anthropic", '{"type":"message_start"}'),
    ("gemini", '{"responseId":"x"}'),
]


@pytest.mark.parametrize(("wire", "text"), HOLES)
def test_a_hole_is_bad_even_where_the_end_is_good(wire, text):
    deltas, failure = drain(wire, [event(text), event(END[wire])])
    assert deltas == []
    assert isinstance(failure, BadResponse)


def test_a_failure_stays():
    decoder = WIRES["openai"].decoder()
    assert decoder.feed(event(OK["openai"]) + event("{bad"))
    for again in (decoder.close, lambda: decoder.feed(event(END["openai"])), decoder.close):
        with pytest.raises(BadResponse):
            again()


def test_an_error_without_words_or_with_a_finish_is_a_refusal():
    for text in (
        '{"error":true}',
        '{"error":"no"}',
        '{"choices":[{"delta":{},"finish_reason":"error"}]}',
    ):
        assert isinstance(drain("openai", [event(text)])[1], Refused)


BODIES = [
    b"",
    b"<html>",
    b"{bad",
    b"null",
    b"[]",
    b"{}",
    b'{"choices":[]}',
    b'{"content":[],"type":"message"}',
    b'{"candidates":[]}',
    b"\xff\xfe\x00",
    b"[" * 100_000,
    b'{"choices":[{"message":{"content":"x"}}]}',
]


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_a_broken_whole_answer_is_a_bad_response(wire, body):
    with pytest.raises(BadResponse):
        WIRES[wire].decode(body)


LIES = [
    -1,
    2**53 + 2,
    2**63,
    10**30,
    1e308,
    0.5,
    "NaN",
    "12",
    True,
    None,
    [],
    {},
    math.nan,
    math.inf,
]


def usage_of(wire, number):
    value = json.dumps(number)
    text = {
        "openai": f'{{"choices":[],"usage":{{"prompt_tokens":{value},"completion_tokens":7}}}}',
        "anthropic": f'{{"type":"message_start","message":{{"usage":{{"input_tokens":{value},"output_tokens":7}}}}}}',
        "gemini": f'{{"usageMetadata":{{"promptTokenCount":{value},"candidatesTokenCount":7}}}}',
    }[wire]
    deltas, failure = drain(wire, [event(text) + event(END[wire])])
    assert failure is None
    return next(delta for delta in deltas if isinstance(delta, Usage))


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("number", LIES, ids=repr)
def test_a_lying_count_is_none_and_spoils_no_other(wire, number):
    usage = usage_of(wire, number)
    assert usage.input_tokens is None
    assert usage.output_tokens == 7


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("number", [0, 1, 2**53, 12.0])
def test_an_honest_count_is_kept(wire, number):
    usage = usage_of(wire, number)
    assert usage.input_tokens == number
    assert type(usage.input_tokens) is int


def test_a_lying_part_spoils_its_sum():
    text = '{"usageMetadata":{"candidatesTokenCount":7,"thoughtsTokenCount":-5}}'
    deltas, _ = drain("gemini", [event(text) + event(END["gemini"])])
    assert Usage(None, None, None, None) in deltas


@pytest.mark.parametrize("usage", ["7", '"many"', "[]", "true"])
def test_usage_that_is_no_object(usage):
    deltas, failure = drain(
        "openai", [event(f'{{"choices":[],"usage":{usage}}}') + event(END["openai"])]
    )
    assert failure is None
    assert Usage(None, None) in deltas
