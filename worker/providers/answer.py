"""What the answers of all wires share: typed reading, honest counts, error texts."""

import json
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar, cast

import msgspec

from worker.providers.sse import EventReader
from worker.providers.wire import BadResponse, Decoder, Delta, Finish, Refused

T = TypeVar("T")
LARGEST_COUNT: Final = 2**53
EXPLANATION_CAP: Final = 300
EXCERPT_CAP: Final = 200
EXPLAINED_BYTES: Final = 256 * 1024
ANY_JSON: Final = msgspec.json.Decoder()


def read(decoder: msgspec.json.Decoder[T], data: bytes) -> T:
    """Decode `data`; numbers beyond JSON (NaN, 1e999) read as null; raise BadResponse."""
    try:
        return decoder.decode(data)
    except (ValueError, RecursionError):
        pass
    try:
        return decoder.decode(msgspec.json.encode(json.loads(data)))
    except (ValueError, RecursionError, OverflowError) as bad:
        excerpt = _excerpt(data)[:80]
        raise BadResponse(f"not what the protocol promises ({bad}): {excerpt}") from bad


def count(usage: object, *path: str) -> int | None:
    """Return the number at `path` where it can be a count of tokens."""
    value = at(usage, *path)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not 0 <= value <= LARGEST_COUNT or value != int(value):
        return None
    return int(value)


def at(value: object, *path: str) -> object:
    """Return what lies at `path` in nested mappings, else None."""
    for key in path:
        if not isinstance(value, Mapping):
            return None
        value = cast("Mapping[str, object]", value).get(key)
    return value


def total(usage: object, *keys: str) -> int | None:
    """Return the sum of counts of which some may be absent; a false one spoils it."""
    counts = [count(usage, key) for key in keys if at(usage, key) is not None]
    known = [each for each in counts if each is not None]
    return sum(known) if known and len(known) == len(counts) else None


def refusal(error: object) -> Refused:
    """Return the failure that an `error` value inside an answer stands for."""
    message = _message({"error": error}) or "the provider reports an error without words"
    codes = [at(error, key) for key in ("code", "type", "status")]
    code = next((str(code) for code in codes if isinstance(code, str | int) and code != ""), "")
    return Refused(_short(message), code)


def explain(body: bytes) -> str:
    """Return the error text of an answer that is no success, for a person."""
    try:
        message = _message(ANY_JSON.decode(body[:EXPLAINED_BYTES]))
    except (ValueError, RecursionError):
        message = ""
    return _short(message) or _excerpt(body)


def whole(deltas: list[Delta]) -> list[Delta]:
    """Return `deltas` when the provider said why the answer ended, else raise BadResponse."""
    if not any(isinstance(delta, Finish) for delta in deltas):
        raise BadResponse("the answer has no finish reason")
    return deltas


def _message(value: object) -> str:
    first = cast("list[object]", value)[:1] if isinstance(value, list) else [value]
    for path in (("error", "message"), ("error",), ("message",), ("detail",)):
        found = at(first[0], *path) if first else None
        if isinstance(found, str) and found.strip():
            return found
    return ""


def _short(text: str) -> str:
    flat = " ".join(_printable(text[: 4 * EXPLANATION_CAP]).split())
    return flat if len(flat) <= EXPLANATION_CAP else flat[: EXPLANATION_CAP - 1] + "…"


def _excerpt(body: bytes) -> str:
    text = body[: 4 * EXCERPT_CAP].decode("utf-8", "replace")
    return " ".join(_printable(text).split())[:EXCERPT_CAP]


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)


class StreamDecoder(Decoder):
    """The shell of every wire's decoder: cuts events, keeps what came before a failure.

    A failure that follows deltas in the same chunk is raised at the next call, so that
    the deltas do not depend on how the bytes were cut.
    """

    def __init__(self) -> None:
        self._events = EventReader()
        self._failure: BadResponse | Refused | None = None
        self.finished = False

    @abstractmethod
    def read(self, event: bytes) -> Iterable[Delta]:
        """Return the deltas of one event."""

    def end(self) -> Iterable[Delta]:
        """Return the deltas that only the end of the stream tells."""
        return ()

    def feed(self, data: bytes) -> Sequence[Delta]:
        return self._read_all(self._events.feed(data))

    def close(self) -> Sequence[Delta]:
        deltas = self._read_all(self._events.close())
        if self._failure is not None:
            raise self._failure
        deltas.extend(self.end())
        if not self.finished:
            raise BadResponse("the stream ended without a finish reason")
        return deltas

    def _read_all(self, events: Iterable[bytes]) -> list[Delta]:
        if self._failure is not None:
            raise self._failure
        deltas: list[Delta] = []
        try:
            for event in events:
                deltas.extend(self.read(event))
        except (BadResponse, Refused) as failure:
            self._failure = failure
            if not deltas:
                raise
        return deltas


def arguments_text(value: Any) -> str:
    """Return a tool call's arguments as JSON text, whichever way they were sent."""
    if value is None:
        return ""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
