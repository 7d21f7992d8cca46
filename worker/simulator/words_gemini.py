"""Google's words."""

from typing import Any, Final

import msgspec

from worker.simulator.asked import Asked, Tool
from worker.simulator.behaviour import UsageTold
from worker.simulator.words import ENCODE, Counts, Whole, Words, absurd, event

REASONS: Final = {"stop": "STOP", "length": "MAX_TOKENS", "tool_calls": "STOP"}
STATUSES: Final = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}


class GeminiWords(Words):
    def __init__(self, asked: Asked, n: int, told: UsageTold) -> None:
        self.response_id = f"gemini-sim-{n}"
        self._told = told
        self._names = {"modelVersion": asked.model, "responseId": self.response_id}
        self._head = b'data: {"candidates":[{"content":{"role":"model","parts":[{"text":'
        names = ENCODE(self._names)[1:]
        self._text_tail = b'}]},"index":0}],%b\n\n' % names
        self._thought_tail = b',"thought":true}]},"index":0}],%b\n\n' % names

    def opening(self) -> bytes:
        return b""

    def text(self, text: str) -> bytes:
        return self._head + ENCODE(text) + self._text_tail

    def reasoning(self, text: str) -> bytes:
        return self._head + ENCODE(text) + self._thought_tail

    def tool(self, tool: Tool) -> list[bytes]:
        """Return one event: this wire does not cut function calls."""
        return [event(self._answer([_call(tool)], None, {}))]

    def closing(self, reason: str, counts: Counts) -> bytes:
        return event(self._answer([], REASONS[reason], self._usage(counts)))

    def failure(self, message: str) -> bytes:
        return event(error(503, message))

    def whole(self, answer: Whole) -> bytes:
        parts: list[dict[str, Any]] = []
        if answer.reasoning:
            parts.append({"text": answer.reasoning, "thought": True})
        if answer.text:
            parts.append({"text": answer.text})
        if answer.tool is not None:
            parts.append(_call(answer.tool))
        return self._answer(parts, REASONS[answer.reason], self._usage(answer.counts))

    def _answer(
        self, parts: list[dict[str, Any]], reason: str | None, usage: dict[str, Any]
    ) -> bytes:
        candidate: dict[str, Any] = {"content": {"role": "model", "parts": parts}, "index": 0}
        if reason:
            candidate["finishReason"] = reason
        return ENCODE({"candidates": [candidate]} | usage | self._names)

    def _usage(self, counts: Counts) -> dict[str, Any]:
        usage = {
            "promptTokenCount": counts.given,
            "candidatesTokenCount": counts.sent - counts.reasoning,
            "totalTokenCount": counts.given + counts.sent,
        }
        if self._told == "none":
            return {}
        thoughts = {"thoughtsTokenCount": counts.reasoning} if counts.reasoning else {}
        return {"usageMetadata": absurd(usage) if self._told == "lies" else usage | thoughts}


def _call(tool: Tool) -> dict[str, Any]:
    arguments = msgspec.Raw(tool.arguments.encode())
    return {"functionCall": {"name": tool.name, "args": arguments}}


def error(status: int, message: str) -> bytes:
    word = STATUSES.get(status, "UNKNOWN")
    return ENCODE({"error": {"code": status, "message": message, "status": word}})
