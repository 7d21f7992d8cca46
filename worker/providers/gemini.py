"""Google's generateContent."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote

import msgspec

from worker.providers.answer import (
    StreamDecoder,
    arguments_text,
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

KEPT: Final = frozenset({"model", "contents", "stream", "system_instruction", "systemInstruction"})
SETTINGS: Final = {
    "top_p": "topP",
    "top_k": "topK",
    "seed": "seed",
    "stop": "stopSequences",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
}
MODES: Final = {"auto": "AUTO", "none": "NONE", "required": "ANY"}
REASONS: Final = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "LANGUAGE": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "IMAGE_SAFETY": "content_filter",
}


class _FunctionCall(msgspec.Struct, gc=False):
    name: str = ""
    args: Any = None
    id: str | None = None


class _Part(msgspec.Struct, rename="camel", gc=False):
    text: str | None = None
    thought: bool = False
    function_call: _FunctionCall | None = None


class _Content(msgspec.Struct, gc=False):
    parts: list[_Part] | None = None


class _Candidate(msgspec.Struct, rename="camel", gc=False):
    index: int = 0
    content: _Content | None = None
    finish_reason: str | None = None


class _Feedback(msgspec.Struct, rename="camel", gc=False):
    block_reason: str | None = None


class _Answer(msgspec.Struct, rename="camel", gc=False):
    candidates: list[_Candidate] | None = None
    prompt_feedback: _Feedback | None = None
    usage_metadata: Any = None
    response_id: str | None = None
    error: Any = None


_ANSWER: Final = msgspec.json.Decoder(_Answer)


def encode(request: ChatRequest, key: str | None) -> HttpCall:
    system = system_text(request)
    body: dict[str, Any] = {
        "system_instruction": None if system is None else {"parts": [{"text": system}]},
        "contents": [
            {
                "role": "model" if message.role == "assistant" else "user",
                "parts": [{"text": message.content}],
            }
            for message in spoken(request)
        ],
        "generationConfig": without_none(
            {"maxOutputTokens": request.max_tokens, "temperature": request.temperature}
        ),
    }
    if request.tools:
        body["tools"] = _tools(request.tools)
        body["toolConfig"] = _choice(request.tool_choice)
    auth = {} if key is None else {"x-goog-api-key": key}
    full = merged(without_none(body), _params(request.params), KEPT)
    return call(_path(request), auth, full, stream=request.stream)


def decode(body: bytes) -> list[Delta]:
    """Read an answer that was not streamed."""
    reader = _Reader()
    deltas = list(reader.deltas(read(_ANSWER, body)))
    return whole([*deltas, *reader.finish()])


class _Reader:
    """Reads chunks in order; the last finish reason counts, as old models repeat STOP."""

    def __init__(self) -> None:
        self.calls = 0
        self.reason = ""
        self.named = False

    def deltas(self, answer: _Answer) -> Iterator[Delta]:
        if answer.error is not None:
            raise refusal(answer.error)
        blocked = answer.prompt_feedback is not None and answer.prompt_feedback.block_reason
        if answer.candidates is None and not blocked and answer.usage_metadata is None:
            raise BadResponse("a chunk has no candidates")
        if answer.response_id and not self.named:
            self.named = True
            yield Identity(answer.response_id)
        if blocked:
            self.reason = "SAFETY"
        for candidate in answer.candidates or ():
            if candidate.index == 0:
                yield from self._candidate(candidate)
        if answer.usage_metadata is not None:
            yield _usage(answer.usage_metadata)

    def _candidate(self, candidate: _Candidate) -> Iterator[Delta]:
        content = candidate.content or _Content()
        for part in content.parts or ():
            if part.function_call is not None:
                given = part.function_call
                arguments = arguments_text(given.args) or "{}"
                yield ToolCall(self.calls, given.id or "", given.name, arguments)
                self.calls += 1
            if part.text:
                yield Reasoning(part.text) if part.thought else Text(part.text)
        if candidate.finish_reason and candidate.finish_reason != "FINISH_REASON_UNSPECIFIED":
            self.reason = candidate.finish_reason

    def finish(self) -> Iterator[Finish]:
        if self.reason == "STOP" and self.calls:
            yield Finish("tool_calls")
        elif self.reason:
            yield Finish(REASONS.get(self.reason, self.reason.lower()))


class GeminiDecoder(StreamDecoder):
    def __init__(self) -> None:
        super().__init__()
        self._reader = _Reader()

    def read(self, event: bytes) -> Iterable[Delta]:
        return list(self._reader.deltas(read(_ANSWER, event)))

    def end(self) -> Iterable[Delta]:
        finish = list(self._reader.finish())
        self.finished = bool(finish)
        return finish


def _usage(usage: object) -> Usage:
    return Usage(
        count(usage, "promptTokenCount"),
        total(usage, "candidatesTokenCount", "thoughtsTokenCount"),
        count(usage, "cachedContentTokenCount"),
        count(usage, "thoughtsTokenCount"),
    )


def _path(request: ChatRequest) -> str:
    """Return the path of the model; its name is one segment and cannot leave it."""
    folder, _, name = request.model.rpartition("/")
    if folder not in {"models", "tunedModels"}:
        folder, name = "models", request.model
    verb = "streamGenerateContent?alt=sse" if request.stream else "generateContent"
    return f"/{folder}/{quote(name, safe='')}:{verb}"


def _params(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return `params` with the settings every wire has moved to where Google keeps them."""
    body = {key: value for key, value in params.items() if key not in SETTINGS}
    settings = {SETTINGS[key]: value for key, value in params.items() if key in SETTINGS}
    if isinstance(settings.get("stopSequences"), str):
        settings["stopSequences"] = [settings["stopSequences"]]
    if settings:
        body["generationConfig"] = merged(settings, body.get("generationConfig", {}), set())
    return body


def _tools(tools: tuple[Mapping[str, Any], ...]) -> list[Any]:
    native = [tool for tool in tools if "function" not in tool and "name" not in tool]
    functions = [function_of(tool) for tool in tools if "function" in tool or "name" in tool]
    declared = [without_none(function._asdict()) for function in functions]
    return [*native, *([{"functionDeclarations": declared}] if declared else [])]


def _choice(choice: str | None) -> dict[str, Any] | None:
    if choice is None:
        return None
    if choice in MODES:
        return {"functionCallingConfig": {"mode": MODES[choice]}}
    return {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": [choice]}}


WIRE: Final = Wire(encode, GeminiDecoder, decode, explain)
