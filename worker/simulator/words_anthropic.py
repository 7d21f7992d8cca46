"""Anthropic's words."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from worker.simulator.asked import Asked, Tool
from worker.simulator.behaviour import UsageTold
from worker.simulator.words import ENCODE, Counts, Whole, Words, absurd, thirds

REASONS: Final = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}
KINDS: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    529: "overloaded_error",
}


class AnthropicWords(Words):
    def __init__(self, asked: Asked, n: int, told: UsageTold) -> None:
        self.response_id = f"msg_sim_{n}"
        self._model = asked.model
        self._given = asked.given
        self._told = told
        self._index = -1
        self._kind = ""
        self._head = b""

    def opening(self) -> bytes:
        message = self._message([], None) | self._usage(Counts(self._given, 1, 0))
        return _event({"type": "message_start", "message": message}) + _event({"type": "ping"})

    def text(self, text: str) -> bytes:
        begun = b"" if self._kind == "text" else self._begin("text", {"text": ""}, "text_delta")
        return b'%b,"text":%b}}\n\n' % (begun + self._head, ENCODE(text))

    def reasoning(self, text: str) -> bytes:
        known = self._kind == "thinking"
        begun = b"" if known else self._begin("thinking", {"thinking": ""}, "thinking_delta")
        return b'%b,"thinking":%b}}\n\n' % (begun + self._head, ENCODE(text))

    def tool(self, tool: Tool) -> list[bytes]:
        fields: dict[str, Any] = {"id": f"toolu_{self.response_id}", "name": tool.name, "input": {}}
        first = self._begin("tool_use", fields, "input_json_delta")
        parts = [ENCODE(part) for part in thirds(tool.arguments)]
        return [first, *[b'%b,"partial_json":%b}}\n\n' % (self._head, part) for part in parts]]

    def closing(self, reason: str, counts: Counts) -> bytes:
        delta = {"stop_reason": REASONS[reason], "stop_sequence": None}
        last = {"type": "message_delta", "delta": delta} | self._usage(counts)
        return self._end() + _event(last) + _event({"type": "message_stop"})

    def failure(self, message: str) -> bytes:
        return b"event: error\ndata: %b\n\n" % error(529, message)

    def whole(self, answer: Whole) -> bytes:
        content: list[dict[str, Any]] = []
        if answer.reasoning:
            content.append({"type": "thinking", "thinking": answer.reasoning, "signature": "sim"})
        if answer.text:
            content.append({"type": "text", "text": answer.text})
        if answer.tool is not None:
            call = {"id": f"toolu_{self.response_id}", "name": answer.tool.name}
            content.append({"type": "tool_use", **call, "input": _raw(answer.tool.arguments)})
        message = self._message(content, REASONS[answer.reason])
        return ENCODE(message | self._usage(answer.counts))

    def _message(self, content: list[dict[str, Any]], reason: str | None) -> dict[str, Any]:
        kind = {"id": self.response_id, "type": "message", "role": "assistant"}
        ended = {"stop_reason": reason, "stop_sequence": None}
        return kind | {"model": self._model, "content": content} | ended

    def _begin(self, kind: str, fields: Mapping[str, Any], delta: str) -> bytes:
        """Return the events between two blocks; keep the head of the new one's deltas."""
        ended = self._end()
        self._index += 1
        self._kind = kind
        block = {"type": kind, **fields}
        start = {"type": "content_block_start", "index": self._index, "content_block": block}
        following = {"type": "content_block_delta", "index": self._index, "delta": {"type": delta}}
        self._head = _event(following).removesuffix(b"}}\n\n")
        return ended + _event(start)

    def _end(self) -> bytes:
        if not self._kind:
            return b""
        self._kind = ""
        return _event({"type": "content_block_stop", "index": self._index})

    def _usage(self, counts: Counts) -> dict[str, Any]:
        usage = {"input_tokens": counts.given, "output_tokens": counts.sent}
        if self._told == "none":
            return {}
        return {"usage": absurd(usage) if self._told == "lies" else usage}


def _raw(text: str) -> Any:
    return msgspec.Raw(text.encode())


def _event(fields: Mapping[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (fields["type"].encode(), ENCODE(fields))


def error(status: int, message: str) -> bytes:
    kind = KINDS.get(status, "api_error")
    return ENCODE({"type": "error", "error": {"type": kind, "message": message}})
