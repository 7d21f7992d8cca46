"""What one HTTP call to a provider came to."""

import time
from collections.abc import Sequence

import msgspec

from db.domain.errors import ProviderFailed
from db.domain.timing import Stamps
from worker.providers.wire import Delta, Finish, Identity, Reasoning, Text, ToolCall, Usage


class Reply:
    """Collects one answer as it arrives: its text, its counts and its stamps."""

    def __init__(self) -> None:
        self.began = time.perf_counter()
        self.sent = self.began
        self.ended: float | None = None
        self.first_byte: float | None = None
        self.first_answer: float | None = None
        self.arrivals: list[float] = []
        self.text: list[str] = []
        self.reasoning: list[str] = []
        self.tool_calls: list[ToolCall] = []
        self.usage: Usage | None = None
        self.finish_reason: str | None = None
        self.response_id: str | None = None
        self.status: int | None = None
        self.retry_after_s: float | None = None
        self.error: ProviderFailed | None = None

    def stamp_sent(self) -> None:
        self.sent = time.perf_counter()

    def end(self) -> None:
        """Stamp the end, once: the last byte, or the failure."""
        self.ended = self.ended or time.perf_counter()

    def take(self, deltas: Sequence[Delta], at: float) -> None:
        """Note what one arrival at `at` brought; each content event is one stamp."""
        for delta in deltas:
            match delta:
                case Text(text) if text:
                    self.text.append(text)
                    self.first_answer = self.first_answer or at
                    self.arrivals.append(at)
                case Reasoning(text) if text:
                    self.reasoning.append(text)
                    self.arrivals.append(at)
                case ToolCall():
                    self.tool_calls.append(delta)
                    self.first_answer = self.first_answer or at
                    self.arrivals.append(at)
                case _:
                    self._note(delta)

    def _note(self, delta: Delta) -> None:
        """Take what is said about the answer; an empty part of it says nothing."""
        match delta:
            case Usage():
                self.usage = _newest(self.usage, delta)
            case Finish(reason):
                self.finish_reason = storable(reason, 100)
            case Identity(response_id):
                self.response_id = self.response_id or storable(response_id, 200)
            case _:
                return

    @property
    def stamps(self) -> Stamps:
        return Stamps(
            sent=self.sent,
            end=self.ended or self.sent,
            first_byte=self.first_byte,
            first_answer=self.first_answer,
            arrivals=self.arrivals,
        )


class Tokens(msgspec.Struct, frozen=True):
    """Token counts and where they come from."""

    input: int | None
    output: int | None
    source: str | None


def storable(text: str, limit: int) -> str:
    """Keep what Postgres can store of a provider's words: no NUL, and not for ever."""
    return text.replace("\0", "")[:limit]


def _newest(old: Usage | None, new: Usage) -> Usage:
    """Providers tell usage in parts: the later number wins, silence keeps the earlier."""
    if old is None:
        return new
    return Usage(
        *(late if late is not None else early for early, late in zip(old, new, strict=True))
    )
