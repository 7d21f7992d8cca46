"""Answers that were not streamed, and why answers end, in OpenAI's words."""

import msgspec
import pytest

from worker.providers.table import WIRES
from worker.providers.wire import Finish, Identity, Reasoning, Text, ToolCall, Usage

OPENAI_USAGE = {
    "prompt_tokens": 9,
    "completion_tokens": 12,
    "prompt_tokens_details": {"cached_tokens": 4},
    "completion_tokens_details": {"reasoning_tokens": 5},
}


def parts(*each, **more):
    return {"candidates": [{"content": {"parts": list(each), "role": "model"}} | more]}


def typed(deltas):
    """Named tuples of two kinds are equal where their fields are."""
    return [(type(delta).__name__, tuple(delta)) for delta in deltas]


def deltas_of(wire, event):
    decoder = WIRES[wire].decoder()
    deltas = decoder.feed(b"data: " + msgspec.json.encode(event) + b"\n\n")
    return typed([*deltas, *decoder.close()])


REASONS = {
    "openai": {
        "stop": "stop",
        "length": "length",
        "content_filter": "content_filter",
        "function_call": "tool_calls",
        "model_length": "length",
        "brand_new": "brand_new",
    },
    "anthropic": {
        "end_turn": "stop",
        "stop_sequence": "stop",
        "max_tokens": "length",
        "tool_use": "tool_calls",
        "refusal": "content_filter",
        "pause_turn": "stop",
    },
    "gemini": {
        "STOP": "stop",
        "MAX_TOKENS": "length",
        "SAFETY": "content_filter",
        "RECITATION": "content_filter",
        "PROHIBITED_CONTENT": "content_filter",
        "OTHER": "other",
    },
}


@pytest.mark.parametrize(
    ("wire", "reason"), [(wire, reason) for wire, reasons in REASONS.items() for reason in reasons]
)
def test_finish_reasons_in_openai_words(wire, reason):
    event = {
        "openai": {"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]},
        "anthropic": {"type": "message_delta", "delta": {"stop_reason": reason}},
        "gemini": parts(finishReason=reason),
    }[wire]
    assert ("Finish", (REASONS[wire][reason],)) in deltas_of(wire, event)


def test_a_blocked_prompt_is_filtered():
    assert deltas_of("gemini", {"promptFeedback": {"blockReason": "SAFETY"}}) == typed(
        [Finish("content_filter")]
    )


WHOLE = {
    "openai": (
        {
            "id": "c-1",
            "choices": [
                {
                    "index": 0,
                    "message": {
                        "role": "assistant",
                        "content": "Hi",
                        "reasoning_content": "Hm",
                        "tool_calls": [
                            {"id": "x", "function": {"name": "add", "arguments": '{"a":1}'}}
                        ],
                    },
                    "finish_reason": "tool_calls",
                }
            ],
            "usage": OPENAI_USAGE,
        }
    ),
    "anthropic": (
        {
            "id": "c-1",
            "type": "message",
            "content": [
                {"type": "thinking", "thinking": "Hm"},
                {"type": "text", "text": "Hi"},
                {"type": "tool_use", "id": "x", "name": "add", "input": {"a": 1}},
            ],
            "stop_reason": "tool_use",
            "usage": {"input_tokens": 5, "cache_read_input_tokens": 4, "output_tokens": 12},
        }
    ),
    "gemini": (
        parts(
            {"text": "Hm", "thought": True},
            {"text": "Hi"},
            {"functionCall": {"id": "x", "name": "add", "args": {"a": 1}}},
            finishReason="STOP",
        )
        | {
            "responseId": "c-1",
            "usageMetadata": {
                "promptTokenCount": 9,
                "candidatesTokenCount": 7,
                "thoughtsTokenCount": 5,
                "cachedContentTokenCount": 4,
            },
        }
    ),
}


@pytest.mark.parametrize("wire", WHOLE)
def test_an_answer_that_was_not_streamed(wire):
    deltas = WIRES[wire].decode(msgspec.json.encode(WHOLE[wire]))
    usage = Usage(9, 12, 4, None if wire == "anthropic" else 5)
    expected = {
        Identity("c-1"),
        Reasoning("Hm"),
        Text("Hi"),
        ToolCall(0, "x", "add", '{"a":1}'),
        Finish("tool_calls"),
        usage,
    }
    assert sorted(map(repr, typed(deltas))) == sorted(map(repr, typed(expected)))
