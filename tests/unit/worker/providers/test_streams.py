"""Each wire's stream gives the same deltas however its bytes are cut."""

import itertools

import msgspec
import pytest
from hypothesis import given, strategies as st

from worker.providers.table import WIRES
from worker.providers.wire import Finish, Identity, Reasoning, Text, ToolCall, Usage


def sse(*events, end=b"\n\n", named=False):
    lines = []
    for event in events:
        name = b"event: " + event["type"].encode() + end[: len(end) // 2] if named else b""
        lines.append(name + b"data: " + msgspec.json.encode(event) + end)
    return b"".join(lines)


def chunk(delta=None, reason=None, **more):
    choice = {"index": 0, "delta": delta or {}, "finish_reason": reason}
    return {"id": "c-1", "object": "chat.completion.chunk", "choices": [choice]} | more


def call(index, arguments, **more):
    return {"index": index, "function": {"arguments": arguments} | more} | (
        {"id": f"call_{index}", "type": "function"} if more else {}
    )


OPENAI_USAGE = {
    "prompt_tokens": 9,
    "completion_tokens": 12,
    "prompt_tokens_details": {"cached_tokens": 4},
    "completion_tokens_details": {"reasoning_tokens": 5},
}
OPENAI = sse(
    chunk({"role": "assistant", "content": ""}),
    chunk({"reasoning_content": "Hm"}),
    chunk({"reasoning": " é"}),
    chunk({"content": "Bon"}, usage=None),
    chunk({"content": "jour 🙂"}),
    chunk({}, "stop"),
    {"id": "c-1", "choices": [], "usage": OPENAI_USAGE},
)
OPENAI_TOOLS = sse(
    chunk({"tool_calls": [call(0, "", name="add")]}),
    chunk({"tool_calls": [call(0, '{"a":')]}),
    chunk({"tool_calls": [call(0, "1}"), call(1, "{}", name="sub")]}),
    chunk({}, "tool_calls"),
    end=b"\r\n\r\n",
)


def block(index, **fields):
    return {"type": "content_block_start", "index": index, "content_block": fields}


def piece(index, kind, **fields):
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind} | fields}


ANTHROPIC = sse(
    {
        "type": "message_start",
        "message": {
            "id": "m-1",
            "usage": {"input_tokens": 3, "cache_read_input_tokens": 4, "output_tokens": 1},
        },
    },
    {"type": "ping"},
    block(0, type="thinking", thinking=""),
    piece(0, "thinking_delta", thinking="Hm é"),
    piece(0, "signature_delta", signature="zzz"),
    {"type": "content_block_stop", "index": 0},
    block(1, type="text", text=""),
    piece(1, "text_delta", text="Bon"),
    piece(1, "text_delta", text="jour 🙂"),
    {"type": "content_block_stop", "index": 1},
    block(2, type="tool_use", id="t-1", name="add", input={}),
    piece(2, "input_json_delta", partial_json=""),
    piece(2, "input_json_delta", partial_json='{"a":'),
    piece(2, "input_json_delta", partial_json="1}"),
    block(3, type="tool_use", id="t-2", name="sub", input={}),
    {"type": "some_day_later", "x": 1},
    {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 15}},
    {"type": "message_stop"},
    named=True,
)


def parts(*each, **more):
    return {
        "candidates": [{"content": {"parts": list(each), "role": "model"}} | more],
        "responseId": "g-1",
    }


GEMINI = sse(
    parts({"text": "Hm é", "thought": True}),
    parts({"text": "Bon"}, finishReason="STOP"),
    parts({"text": "jour 🙂"}, {"functionCall": {"name": "add", "args": {"a": 1}}}),
    parts(finishReason="STOP")
    | {
        "usageMetadata": {
            "promptTokenCount": 9,
            "candidatesTokenCount": 7,
            "thoughtsTokenCount": 5,
            "cachedContentTokenCount": 4,
        }
    },
    end=b"\r\n\r\n",
)
STREAMS = {
    "openai": (
        "openai",
        OPENAI + b"data: [DONE]\n\n",
        [
            Identity("c-1"),
            Reasoning("Hm"),
            Reasoning(" é"),
            Text("Bon"),
            Text("jour 🙂"),
            Finish("stop"),
            Usage(9, 12, 4, 5),
        ],
    ),
    "openai tools": (
        "openai",
        OPENAI_TOOLS,
        [
            Identity("c-1"),
            ToolCall(0, "call_0", "add", ""),
            ToolCall(0, "", "", '{"a":'),
            ToolCall(0, "", "", "1}"),
            ToolCall(1, "call_1", "sub", "{}"),
            Finish("tool_calls"),
        ],
    ),
    "anthropic": (
        "anthropic",
        ANTHROPIC,
        [
            Identity("m-1"),
            Usage(7, 1, 4),
            Reasoning("Hm é"),
            Text("Bon"),
            Text("jour 🙂"),
            ToolCall(0, "t-1", "add", ""),
            ToolCall(0, "", "", '{"a":'),
            ToolCall(0, "", "", "1}"),
            ToolCall(1, "t-2", "sub", ""),
            Finish("tool_calls"),
            Usage(7, 15, 4),
        ],
    ),
    "gemini": (
        "gemini",
        GEMINI,
        [
            Identity("g-1"),
            Reasoning("Hm é"),
            Text("Bon"),
            Text("jour 🙂"),
            ToolCall(0, "", "add", '{"a":1}'),
            Usage(9, 12, 4, 5),
            Finish("tool_calls"),
        ],
    ),
}


def typed(deltas):
    """Named tuples of two kinds are equal where their fields are."""
    return [(type(delta).__name__, tuple(delta)) for delta in deltas]


def deltas_of(wire, chunks):
    decoder = WIRES[wire].decoder()
    deltas = [delta for each in chunks for delta in decoder.feed(each)]
    return typed([*deltas, *decoder.close()])


@pytest.mark.parametrize("name", STREAMS)
def test_every_single_cut_and_one_byte_at_a_time(name):
    wire, data, expected = STREAMS[name]
    for cut in range(len(data) + 1):
        assert deltas_of(wire, [data[:cut], data[cut:]]) == typed(expected), cut
    assert deltas_of(wire, [data[at : at + 1] for at in range(len(data))]) == typed(expected)


@given(st.sampled_from(sorted(STREAMS)), st.lists(st.integers(0, 3000), max_size=40), st.booleans())
def test_random_cuts_with_and_without_a_bom(name, cuts, bom):
    wire, data, expected = STREAMS[name]
    data = b"\xef\xbb\xbf" * bom + data
    edges = sorted({0, len(data), *(cut % len(data) for cut in cuts)})
    pieces = [data[start:end] for start, end in itertools.pairwise(edges)]
    assert deltas_of(wire, pieces) == typed(expected)


@pytest.mark.parametrize(
    "tail",
    [
        b"",
        b"data: [DONE]\n\n",
        b"data: [DONE]\n\n" * 3,
        b"data: [DONE]",
        b"data: [DONE]\n\ndata: late junk\n\n",
    ],
)
def test_done_is_optional_may_repeat_and_ends(tail):
    assert deltas_of("openai", [OPENAI + tail]) == typed(STREAMS["openai"][2])


def test_what_servers_repeat_is_told_once():
    events = [chunk({"content": "a"}, usage={"prompt_tokens": 1, "completion_tokens": 1})] * 2
    events += [chunk({}, "stop", usage={"prompt_tokens": 1, "completion_tokens": 2})] * 2
    expected = [Identity("c-1"), Text("a"), Usage(1, 1), Text("a"), Finish("stop"), Usage(1, 2)]
    assert deltas_of("openai", [sse(*events)]) == typed(expected)


def test_odd_but_honest_openai_servers():
    events = [
        {"choices": [], "prompt_filter_results": []},
        chunk(
            {
                "content": [
                    {"type": "thinking", "thinking": [{"type": "text", "text": "h"}]},
                    {"type": "text", "text": "a"},
                ]
            },
            id="",
        ),
        chunk(
            {"tool_calls": [{"id": "x", "function": {"name": "f", "arguments": {"a": 1}}}]}, id=None
        ),
        chunk({"refusal": "no"}, ""),
        chunk({}, "function_call"),
    ]
    expected = [
        Reasoning("h"),
        Text("a"),
        ToolCall(0, "x", "f", '{"a":1}'),
        Text("no"),
        Finish("tool_calls"),
    ]
    assert [each for each in deltas_of("openai", [sse(*events)]) if each[0] != "Identity"] == typed(
        expected
    )


def test_one_chunk_may_hold_all_at_once_and_other_choices_are_left_out():
    other = {"index": 1, "delta": {"content": "other"}, "finish_reason": "length"}
    events = [
        chunk({"content": "a"}),
        chunk({"content": "b", "reasoning": "h"}),
        {"id": "c-1", "choices": [other]},
        {"id": "c-1", "choices": [other | {"finish_reason": None}]},
        chunk({"content": "c", "tool_calls": [call(0, "{}", name="f")]}),
        chunk({"content": "d"}, "stop", usage={"prompt_tokens": 1, "completion_tokens": 2}),
    ]
    events[4]["choices"].append(other)
    expected = [Identity("c-1"), Text("a"), Reasoning("h"), Text("b"), Text("c")]
    expected += [ToolCall(0, "call_0", "f", "{}"), Text("d"), Finish("stop"), Usage(1, 2)]
    assert deltas_of("openai", [sse(*events)]) == typed(expected)


def test_the_last_text_may_come_with_the_finish():
    events = [chunk({"content": "a"}), chunk({"content": "b"}, "length")]
    expected = [Identity("c-1"), Text("a"), Text("b"), Finish("length")]
    assert deltas_of("openai", [sse(*events)]) == typed(expected)


def test_other_candidates_are_left_out():
    answer = parts({"text": "a"}, finishReason="STOP")
    answer["candidates"].append(parts({"text": "other"}, index=1)["candidates"][0])
    expected = [Identity("g-1"), Text("a"), Finish("stop")]
    assert deltas_of("gemini", [sse(answer)]) == typed(expected)
