"""What the request bodies of all wires share: headers, merged params, tool functions."""

from collections.abc import Mapping, Set as AbstractSet
from typing import Any, NamedTuple, cast

import msgspec

from worker.providers.wire import ChatRequest, HttpCall, Message


class Function(NamedTuple):
    """A tool as every wire can word it."""

    name: str
    description: str | None
    parameters: Mapping[str, Any]


def function_of(tool: Mapping[str, Any]) -> Function:
    """Return the function that `tool` declares, in OpenAI's, Anthropic's or a bare form."""
    inner = tool.get("function", tool)
    parameters = inner.get("parameters") or inner.get("input_schema") or {"type": "object"}
    return Function(inner.get("name", ""), inner.get("description"), parameters)


def merged(
    body: Mapping[str, Any], params: Mapping[str, Any], kept: AbstractSet[str]
) -> dict[str, Any]:
    """Return `body` with `params` on top, nested mappings too; the keys in `kept` stay ours."""
    result = dict(body)
    for key, value in params.items():
        if key in kept:
            continue
        old = result.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            value = merged(cast("Mapping[str, Any]", old), cast("Mapping[str, Any]", value), set())  # noqa: PLW2901 -- the merged value takes the given one's place
        result[key] = value
    return result


def without_none(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value is not None}


def system_text(request: ChatRequest) -> str | None:
    """Return all system messages as one text; None when there is none."""
    texts = [message.content for message in request.messages if message.role == "system"]
    return "\n\n".join(texts) if texts else None


def spoken(request: ChatRequest) -> tuple[Message, ...]:
    """Return the messages that are not the system's."""
    return tuple(message for message in request.messages if message.role != "system")


def call(path: str, auth: Mapping[str, str], body: Mapping[str, Any], *, stream: bool) -> HttpCall:
    """Return the POST of `body`; a stream is asked for uncompressed, to be timed and capped."""
    headers = {
        "content-type": "application/json",
        "accept": "text/event-stream" if stream else "application/json",
        "accept-encoding": "identity",
    }
    return HttpCall(path, headers | dict(auth), msgspec.json.encode(body))
