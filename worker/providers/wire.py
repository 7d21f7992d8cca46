"""What every wire protocol must do: write a request, read deltas out of its answer."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol

import msgspec

Role = Literal["system", "user", "assistant", "tool"]


class Message(msgspec.Struct, frozen=True):
    role: Role
    content: str


class ChatRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One chat completion, in no provider's words."""

    model: str
    messages: tuple[Message, ...]
    max_tokens: int
    temperature: float | None = None
    stream: bool = True
    tools: tuple[Mapping[str, Any], ...] = ()
    tool_choice: str | None = None
    params: Mapping[str, Any] = {}


class HttpCall(NamedTuple):
    """A POST below the provider's base URL; the body is JSON."""

    path: str
    headers: dict[str, str]
    body: bytes


class Text(NamedTuple):
    """Part of the answer."""

    text: str


class Reasoning(NamedTuple):
    """Part of the thinking that comes before the answer."""

    text: str


class ToolCall(NamedTuple):
    """Part of a tool call; parts of one call share its place, arguments concatenate to JSON."""

    place: int
    id: str
    name: str
    arguments: str


class Usage(NamedTuple):
    """Token counts as the provider tells them; output includes reasoning. None: not told."""

    input_tokens: int | None
    output_tokens: int | None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None


class Finish(NamedTuple):
    """The provider says the answer is whole, and why it ended, in OpenAI's words."""

    reason: str


class Identity(NamedTuple):
    """The provider's own id of this answer."""

    response_id: str


Delta = Text | Reasoning | ToolCall | Usage | Finish | Identity


class BadResponse(Exception):
    """The provider's answer does not follow its protocol."""


class Refused(Exception):
    """The provider reports an error inside an answer that began well."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class Decoder(Protocol):
    """Reads one streamed answer, however its bytes are cut."""

    def feed(self, data: bytes) -> Sequence[Delta]:
        """Return the deltas that `data` completes; raise BadResponse or Refused."""
        ...

    def close(self) -> Sequence[Delta]:
        """Return what remains at the end; raise BadResponse when the answer is not whole."""
        ...


class Wire(NamedTuple):
    """A protocol: how a call is written and its two kinds of answer are read."""

    encode: Callable[[ChatRequest, str | None], HttpCall]
    decoder: Callable[[], Decoder]
    decode: Callable[[bytes], Sequence[Delta]]
    explain: Callable[[bytes], str]
