"""OpenAI's words."""

import time
from collections.abc import Mapping
from typing import Any

from worker.simulator.asked import Asked, Tool
from worker.simulator.behaviour import UsageTold
from worker.simulator.words import ENCODE, Counts, Whole, Words, absurd, event, thirds


class OpenAIWords(Words):
    def __init__(self, asked: Asked, n: int, told: UsageTold) -> None:
        self.response_id = f"chatcmpl-sim-{n}"
        self._told = told
        self._usage_in_stream = asked.usage_in_stream and told != "none"
        self._base = {"id": self.response_id, "created": int(time.time()), "model": asked.model}
        fields = self._base | {"object": "chat.completion.chunk"}
        head = event(ENCODE(fields)[:-1] + b',"choices":[{"index":0,"delta":{')[:-2]
        self._text, self._reasoning = head + b'"content":', head + b'"reasoning_content":'
        self._tail = b'},"finish_reason":null}]}\n\n'
        self._fields = fields

    def opening(self) -> bytes:
        return self._delta({"role": "assistant", "content": ""})

    def text(self, text: str) -> bytes:
        return self._text + ENCODE(text) + self._tail

    def reasoning(self, text: str) -> bytes:
        return self._reasoning + ENCODE(text) + self._tail

    def tool(self, tool: Tool) -> list[bytes]:
        first = {"index": 0, "type": "function", **_function(f"call_{self.response_id}", tool, "")}
        rest = [{"index": 0, "function": {"arguments": part}} for part in thirds(tool.arguments)]
        return [self._delta({"tool_calls": [each]}) for each in (first, *rest)]

    def closing(self, reason: str, counts: Counts) -> bytes:
        last = self._delta({}, reason)
        if self._usage_in_stream:
            last += event(ENCODE(self._fields | {"choices": [], "usage": self._usage(counts)}))
        return last + b"data: [DONE]\n\n"

    def failure(self, message: str) -> bytes:
        return event(error(500, message))

    def whole(self, answer: Whole) -> bytes:
        message: dict[str, Any] = {"role": "assistant", "content": answer.text}
        if answer.reasoning:
            message["reasoning_content"] = answer.reasoning
        if answer.tool is not None:
            call = _function(f"call_{self.response_id}", answer.tool, answer.tool.arguments)
            message["tool_calls"] = [{"type": "function", **call}]
        choice = {"index": 0, "message": message, "finish_reason": answer.reason}
        body = self._base | {"object": "chat.completion", "choices": [choice]}
        usage = {} if self._told == "none" else {"usage": self._usage(answer.counts)}
        return ENCODE(body | usage)

    def _delta(self, delta: Mapping[str, Any], reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        return event(ENCODE(self._fields | {"choices": [choice]}))

    def _usage(self, counts: Counts) -> dict[str, Any]:
        given, sent, reasoning = counts
        usage = {"prompt_tokens": given, "completion_tokens": sent, "total_tokens": given + sent}
        details = {"completion_tokens_details": {"reasoning_tokens": reasoning}}
        return absurd(usage) if self._told == "lies" else usage | details


def _function(call_id: str, tool: Tool, arguments: str) -> dict[str, Any]:
    return {"id": call_id, "function": {"name": tool.name, "arguments": arguments}}


def error(status: int, message: str) -> bytes:
    kind = "invalid_request_error" if status < 500 else "server_error"
    fields = {"message": message, "type": kind, "param": None, "code": f"sim_{status}"}
    return ENCODE({"error": fields})
