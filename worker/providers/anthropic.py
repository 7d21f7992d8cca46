"""Anthropic's messages."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, TypeVar, cast

import msgspec

from worker.providers.answer import (
    StreamDecoder,
    arguments_text,
    at,
    count,
    explain,
    read,
    refusal,
    total,
    whole,
)
from worker.providers.body import call, function_of, merged, spoken, system_text, without_none
from worker.providers.wire import (
    BadResponse,
    ChatRequest,
    Delta,
    Finish,
    HttpCall,
    Identity,
    Reasoning,
    Text,
    ToolCall,
    Usage,
    Wire,
)

T = TypeVar("T")
VERSION: Final = "2023-06-01"
KEPT: Final = frozenset({"model", "messages", "system", "stream"})
INPUT: Final = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
REASONS: Final = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


class _Block(msgspec.Struct, gc=False):
    type: str = ""
    text: str | None = None
    thinking: str | None = None
    id: str | None = None
    name: str | None = None
    input: Any = None


class _Piece(msgspec.Struct, gc=False):
    type: str = ""
    text: str | None = None
    thinking: str | None = None
    partial_json: str | None = None
    stop_reason: str | None = None


class _Answer(msgspec.Struct, gc=False):
    type: str = ""
    id: str | None = None
    content: list[_Block] | None = None
    stop_reason: str | None = None
    usage: Any = None
    error: Any = None


class _Event(msgspec.Struct, gc=False):
    type: str
    index: int = 0
    message: _Answer | None = None
    content_block: _Block | None = None
    delta: _Piece | None = None
    usage: Any = None
    error: Any = None


_ANSWER: Final = msgspec.json.Decoder(_Answer)
_EVENT: Final = msgspec.json.Decoder(_Event)


def encode(request: ChatRequest, key: str | None) -> HttpCall:
    body: dict[str, Any] = {
        "model": request.model,
        "system": system_text(request),
        "messages": [
            {
                "role": "assistant" if message.role == "assistant" else "user",
                "content": message.content,
            }
            for message in spoken(request)
        ],
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "stream": request.stream,
    }
    if request.tools:
        body["tools"] = [_tool(tool) for tool in request.tools]
        body["tool_choice"] = _choice(request.tool_choice)
    params = _params(request.params)
    auth = {"anthropic-version": VERSION} | ({} if key is None else {"x-api-key": key})
    full = merged(without_none(body), params, KEPT)
    return call("/messages", auth, full, stream=request.stream)


def decode(body: bytes) -> list[Delta]:
    """Read an answer that was not streamed."""
    answer = read(_ANSWER, body)
    if answer.error is not None:
        raise refusal(answer.error)
    if answer.content is None:
        raise BadResponse("the answer has no content")
    deltas: list[Delta] = [Identity(answer.id)] if answer.id else []
    for position, block in enumerate(answer.content):
        calls = sum(each.type == "tool_use" for each in answer.content[:position])
        deltas.extend(_block(block, calls, arguments_text(block.input)))
    deltas.extend(_finish(answer.stop_reason))
    if answer.usage is not None:
        deltas.append(_usage(answer.usage))
    return whole(deltas)


class AnthropicDecoder(StreamDecoder):
    def __init__(self) -> None:
        super().__init__()
        self._calls: dict[int, int] = {}
        self._usage: dict[str, object] = {}

    def read(self, event: bytes) -> Iterable[Delta]:
        return list(self._deltas(read(_EVENT, event)))

    def _deltas(self, event: _Event) -> Iterator[Delta]:
        match event.type:
            case "error":
                raise refusal(event.error)
            case "message_start":
                message = _present(event.message, event)
                if message.id:
                    yield Identity(message.id)
                yield from self._counted(message.usage)
            case "content_block_start":
                yield from self._begun(_present(event.content_block, event), event.index)
            case "content_block_delta":
                yield from self._pieces(_present(event.delta, event), event.index)
            case "message_delta":
                yield from self._ended(_present(event.delta, event).stop_reason)
                yield from self._counted(event.usage)
            case _:
                pass  # ping, the two stops and whatever is added later

    def _begun(self, block: _Block, index: int) -> Iterator[Delta]:
        if block.type == "tool_use":
            self._calls[index] = len(self._calls)
        return _block(block, self._calls.get(index, 0), "")

    def _pieces(self, piece: _Piece, index: int) -> Iterator[Delta]:
        if piece.text:
            yield Text(piece.text)
        if piece.thinking:
            yield Reasoning(piece.thinking)
        if piece.partial_json:
            if index not in self._calls:
                raise BadResponse("a tool call goes on that never began")
            yield ToolCall(self._calls[index], "", "", piece.partial_json)

    def _ended(self, reason: str | None) -> Iterator[Delta]:
        if reason and not self.finished:
            self.finished = True
            yield from _finish(reason)

    def _counted(self, usage: Any) -> Iterator[Delta]:
        """Merge usage: the first event counts the input, the last one the output."""
        if isinstance(usage, dict):
            told = cast("dict[str, object]", usage)
            self._usage |= {name: value for name, value in told.items() if value is not None}
            yield _usage(self._usage)


def _present(part: T | None, event: _Event) -> T:
    if part is None:
        raise BadResponse(f"a {event.type} event is empty")
    return part


def _block(block: _Block, calls: int, arguments: str) -> Iterator[Delta]:
    if block.type == "tool_use":
        yield ToolCall(calls, block.id or "", block.name or "", arguments)
    if block.thinking:
        yield Reasoning(block.thinking)
    if block.text:
        yield Text(block.text)


def _finish(reason: str | None) -> Iterator[Delta]:
    if reason:
        yield Finish(REASONS.get(reason, reason))


def _usage(usage: object) -> Usage:
    """Count as the other wires do: what the cache held is part of the input."""
    spoilt = at(usage, "input_tokens") is None
    given = None if spoilt else total(usage, *INPUT)
    return Usage(given, count(usage, "output_tokens"), count(usage, "cache_read_input_tokens"))


def _params(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return `params` with OpenAI's `stop` in Anthropic's words."""
    body = dict(params)
    if "stop" in body:
        stop = body.pop("stop")
        body.setdefault("stop_sequences", [stop] if isinstance(stop, str) else stop)
    return body


def _tool(tool: Any) -> dict[str, Any]:
    if "input_schema" in tool or ("function" not in tool and "parameters" not in tool):
        return dict(tool)
    name, description, parameters = function_of(tool)
    return without_none({"name": name, "description": description, "input_schema": parameters})


def _choice(choice: str | None) -> dict[str, str] | None:
    if choice is None:
        return None
    if choice in {"auto", "none", "required"}:
        return {"type": "any" if choice == "required" else choice}
    return {"type": "tool", "name": choice}


WIRE: Final = Wire(encode, AnthropicDecoder, decode, explain)
