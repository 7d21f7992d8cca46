"""What a request asks, read out of each wire's body."""

import hashlib
from typing import Any, Final, Literal, NamedTuple

import msgspec

WireName = Literal["openai", "anthropic", "gemini"]


class Tool(NamedTuple):
    name: str
    arguments: str


class Asked(NamedTuple):
    """One request in no wire's words; `messages` are (role, text), the system's first.

    `prompt` is the text whose sha256 the ledger keeps: the messages as `role: text` lines.
    """

    wire: WireName
    model: str
    messages: tuple[tuple[str, str], ...]
    limit: int | None
    stream: bool
    usage_in_stream: bool
    tool: Tool | None
    prompt: str

    @property
    def given(self) -> int:
        """Roughly the tokens of the prompt."""
        return len(self.prompt) // 4 + 1

    @property
    def last_user_text(self) -> str:
        return next((text for role, text in reversed(self.messages) if role == "user"), "")


class _Part(msgspec.Struct):
    text: str | None = None


class _Message(msgspec.Struct):
    role: str
    content: str | list[_Part] | None = None


class _StreamOptions(msgspec.Struct):
    include_usage: bool = False


class _OpenAI(msgspec.Struct):
    model: str
    messages: list[_Message]
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    stream: bool | None = False
    stream_options: _StreamOptions | None = None
    tools: list[dict[str, Any]] | None = None


class _Anthropic(msgspec.Struct):
    model: str
    messages: list[_Message]
    max_tokens: int
    system: str | list[_Part] | None = None
    stream: bool = False
    tools: list[dict[str, Any]] | None = None


class _Content(msgspec.Struct):
    parts: list[_Part]
    role: str = "user"


class _Settings(msgspec.Struct, rename="camel"):
    max_output_tokens: int | None = None


class _Gemini(msgspec.Struct):
    contents: list[_Content]
    system_instruction: _Content | None = None
    other_system: _Content | None = msgspec.field(default=None, name="systemInstruction")
    settings: _Settings | None = msgspec.field(default=None, name="generationConfig")
    tools: list[dict[str, Any]] | None = None


_OPENAI: Final = msgspec.json.Decoder(_OpenAI)
_ANTHROPIC: Final = msgspec.json.Decoder(_Anthropic)
_GEMINI: Final = msgspec.json.Decoder(_Gemini)


def read_openai(body: bytes) -> Asked:
    given = _OPENAI.decode(body)
    messages = [(message.role, _text(message.content)) for message in given.messages]
    limit = given.max_completion_tokens or given.max_tokens
    told = given.stream_options is not None and given.stream_options.include_usage
    stream = bool(given.stream)
    tool = _tool(given.tools, "parameters")
    ordered = tuple(sorted(messages, key=_after_system))
    return Asked("openai", given.model, ordered, limit, stream, told, tool, _prompt(ordered))


def read_anthropic(body: bytes) -> Asked:
    given = _ANTHROPIC.decode(body)
    messages = [] if given.system is None else [("system", _text(given.system))]
    messages += [(message.role, _text(message.content)) for message in given.messages]
    tool = _tool(given.tools, "input_schema")
    said = tuple(messages)
    limit, stream = given.max_tokens, given.stream
    return Asked("anthropic", given.model, said, limit, stream, True, tool, _prompt(said))


def read_gemini(body: bytes, model: str, *, stream: bool) -> Asked:
    given = _GEMINI.decode(body)
    system = given.system_instruction or given.other_system
    messages = [] if system is None else [("system", _text(system.parts))]
    for content in given.contents:
        role = "assistant" if content.role == "model" else content.role
        messages.append((role, _text(content.parts)))
    limit = given.settings.max_output_tokens if given.settings else None
    declared = [tool for each in given.tools or () for tool in each.get("functionDeclarations", ())]
    tool = _tool(declared, "parameters")
    said = tuple(messages)
    return Asked("gemini", model, said, limit, stream, True, tool, _prompt(said))


def digest(prompt: str) -> str:
    return hashlib.sha256(prompt.encode()).hexdigest()


def _after_system(message: tuple[str, str]) -> bool:
    return message[0] != "system"


def _prompt(messages: tuple[tuple[str, str], ...]) -> str:
    return "\n".join([f"{role}: {text}" for role, text in messages])


def _text(content: str | list[_Part] | None) -> str:
    if isinstance(content, list):
        return "".join([part.text or "" for part in content])
    return content or ""


def _tool(tools: list[dict[str, Any]] | None, schema_key: str) -> Tool | None:
    """Return a call of the first tool, with an argument of the right type for each property."""
    if not tools:
        return None
    function: dict[str, Any] = tools[0].get("function", tools[0])
    schema: dict[str, Any] = function.get(schema_key) or {}
    properties: dict[str, dict[str, Any]] = schema.get("properties") or {}
    arguments = {name: _example(rule) for name, rule in properties.items()}
    return Tool(str(function.get("name", "tool")), msgspec.json.encode(arguments).decode())


def _example(rule: dict[str, Any]) -> Any:
    if rule.get("enum"):
        return rule["enum"][0]
    examples: dict[str, Any] = {"integer": 1, "number": 1.5, "boolean": True, "array": []}
    return {} if rule.get("type") == "object" else examples.get(str(rule.get("type")), "simulated")
