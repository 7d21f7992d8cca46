"""OpenAI's chat completions, as spoken by OpenAI, vLLM, SGLang, Ollama and many more."""

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

from worker.providers.answer import (
    StreamDecoder,
    arguments_text,
    at,
    count,
    explain,
    read,
    refusal,
    whole,
)
from worker.providers.body import call, function_of, merged, without_none
from worker.providers.wire import (
    BadResponse,
    ChatRequest,
    Delta,
    Finish,
    HttpCall,
    Identity,
    Reasoning,
    Refused,
    Text,
    ToolCall,
    Usage,
    Wire,
)

KEPT: Final = frozenset({"model", "messages", "stream"})
# These refuse `max_tokens`; a vendor's prefix or a fine-tune's `ft:` may stand before the name.
NEW_LIMIT: Final = re.compile(r"(?:^|[/:])(?:o\d|gpt-[5-9])")
REASONS: Final = {
    "function_call": "tool_calls",
    "tool_use": "tool_calls",
    "end_turn": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_length": "length",
}


class _Function(msgspec.Struct, gc=False):
    name: str | None = None
    arguments: Any = None


class _Call(msgspec.Struct, gc=False):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class _Part(msgspec.Struct, gc=False):
    type: str = ""
    text: str | None = None
    thinking: "list[_Part] | str | None" = None


class _Piece(msgspec.Struct, gc=False):
    content: str | list[_Part] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[_Call] | None = None


class _Choice(msgspec.Struct, gc=False):
    index: int = 0
    delta: _Piece | None = None
    message: _Piece | None = None
    finish_reason: str | None = None


class _Chunk(msgspec.Struct, gc=False):
    id: str | None = None
    choices: list[_Choice] | None = None
    usage: Any = None
    error: Any = None


_CHUNK: Final = msgspec.json.Decoder(_Chunk)


def encode(request: ChatRequest, key: str | None) -> HttpCall:
    limit = "max_completion_tokens" if NEW_LIMIT.search(request.model) else "max_tokens"
    body: dict[str, Any] = {
        "model": request.model,
        "messages": request.messages,
        limit: request.max_tokens,
        "temperature": request.temperature,
        "stream": request.stream,
        "stream_options": {"include_usage": True} if request.stream else None,
    }
    if request.tools:
        body["tools"] = [_tool(tool) for tool in request.tools]
        body["tool_choice"] = _choice(request.tool_choice)
    auth = {} if key is None else {"authorization": f"Bearer {key}"}
    full = merged(without_none(body), request.params, KEPT)
    return call("/chat/completions", auth, full, stream=request.stream)


def decode(body: bytes) -> list[Delta]:
    """Read an answer that was not streamed."""
    return whole(list(_deltas(read(_CHUNK, body))))


class OpenAIDecoder(StreamDecoder):
    def __init__(self) -> None:
        super().__init__()
        self._usage: Usage | None = None
        self._named = False
        self._done = False

    def read(self, event: bytes) -> Iterable[Delta]:
        self._done = self._done or event.strip() == b"[DONE]"
        if self._done:
            return ()
        chunk = read(_CHUNK, event)
        if self._named:
            chunk.id = None
        text = _only_text(chunk)
        if text:
            return (Text(text),)
        return [delta for delta in _deltas(chunk) if self._is_new(delta)]

    def _is_new(self, delta: Delta) -> bool:
        """Tell once what some servers repeat in every chunk."""
        new = True
        if isinstance(delta, Finish):
            new, self.finished = not self.finished, True
        elif isinstance(delta, Identity):
            self._named = True
        elif isinstance(delta, Usage):
            new, self._usage = delta != self._usage, delta
        return new


def _only_text(chunk: _Chunk) -> str | None:
    """Return the text of a chunk that holds nothing else: most of them, so on a short way."""
    if chunk.id or chunk.error or chunk.usage is not None or not chunk.choices:
        return None
    choice = chunk.choices[0]
    piece = choice.delta
    if len(chunk.choices) > 1 or choice.index or choice.finish_reason or piece is None:
        return None
    thought = piece.reasoning_content or piece.reasoning or piece.refusal
    if thought or piece.tool_calls or not isinstance(piece.content, str):
        return None
    return piece.content


def _deltas(chunk: _Chunk) -> Iterator[Delta]:
    if chunk.error:
        raise refusal(chunk.error)
    if chunk.choices is None and chunk.usage is None:
        raise BadResponse("a chunk has no choices")
    if chunk.id:
        yield Identity(chunk.id)
    for choice in chunk.choices or ():
        if choice.index == 0:
            yield from _pieces(choice.delta or choice.message or _Piece())
            yield from _finish(choice.finish_reason)
    if chunk.usage is not None:
        yield _usage(chunk.usage)


def _pieces(piece: _Piece) -> Iterator[Delta]:
    thought = piece.reasoning_content or piece.reasoning
    if thought:
        yield Reasoning(thought)
    if isinstance(piece.content, list):
        yield from _parts(piece.content)
    elif piece.content:
        yield Text(piece.content)
    if piece.refusal:
        yield Text(piece.refusal)
    for position, each in enumerate(piece.tool_calls or ()):
        function = each.function or _Function()
        index = position if each.index is None else each.index
        arguments = arguments_text(function.arguments)
        yield ToolCall(index, each.id or "", function.name or "", arguments)


def _parts(parts: list[_Part]) -> Iterator[Delta]:
    """Read content that comes in typed parts, as Mistral's thinking models send it."""
    for part in parts:
        thinking = part.thinking
        if isinstance(thinking, list):
            thinking = "".join(each.text or "" for each in thinking)
        if thinking:
            yield Reasoning(thinking)
        if part.text:
            yield Text(part.text)


def _finish(reason: str | None) -> Iterator[Delta]:
    if reason == "error":
        raise Refused("the provider ended the answer with an error", "error")
    if reason:
        yield Finish(REASONS.get(reason, reason))


def _usage(usage: object) -> Usage:
    cached = count(usage, "prompt_tokens_details", "cached_tokens")
    reasoning = count(usage, "completion_tokens_details", "reasoning_tokens")
    if reasoning is None and at(usage, "completion_tokens_details") is None:
        reasoning = count(usage, "reasoning_tokens")
    return Usage(
        count(usage, "prompt_tokens"), count(usage, "completion_tokens"), cached, reasoning
    )


def _tool(tool: Any) -> dict[str, Any]:
    if "function" in tool or tool.get("type", "function") not in {"function", "custom"}:
        return dict(tool)
    return {"type": "function", "function": without_none(function_of(tool)._asdict())}


def _choice(choice: str | None) -> Any:
    if choice is None or choice in {"auto", "none", "required"}:
        return choice
    return {"type": "function", "function": {"name": choice}}


WIRE: Final = Wire(encode, OpenAIDecoder, decode, explain)
