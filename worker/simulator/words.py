"""What every wire's words must be able to say."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from worker.simulator.asked import Asked, Tool
from worker.simulator.behaviour import UsageTold

ABSURD: Final = (-1, 1e308, "NaN", 2**63)
ENCODE: Final = msgspec.json.Encoder().encode


class Counts(NamedTuple):
    given: int
    sent: int
    reasoning: int


class Whole(NamedTuple):
    """An answer that is not streamed."""

    text: str
    reasoning: str
    tool: Tool | None
    reason: str
    counts: Counts


class Words(Protocol):
    """One answer's events; reasons come as OpenAI's words."""

    response_id: str

    def opening(self) -> bytes: ...
    def text(self, text: str) -> bytes: ...
    def reasoning(self, text: str) -> bytes: ...
    def tool(self, tool: Tool) -> list[bytes]: ...
    def closing(self, reason: str, counts: Counts) -> bytes: ...
    def failure(self, message: str) -> bytes: ...
    def whole(self, answer: Whole) -> bytes: ...


class Speaker(Protocol):
    """Makes the words of one answer: request, its number, how usage is told."""

    def __call__(self, asked: Asked, n: int, told: UsageTold) -> Words: ...


def event(data: bytes) -> bytes:
    return b"data: %b\n\n" % data


def absurd(usage: Mapping[str, Any]) -> dict[str, Any]:
    """Return `usage` with numbers that cannot be."""
    return {key: ABSURD[at % len(ABSURD)] for at, key in enumerate(usage)}


def thirds(text: str) -> list[str]:
    """Return `text` in three parts, as tool arguments are streamed."""
    size = max(1, -(-len(text) // 3))
    return [text[at : at + size] for at in range(0, len(text), size)]
