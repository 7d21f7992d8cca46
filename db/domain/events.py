"""Events of a run: numbered by the database, worded as JSON objects without their type."""

from typing import Any, Final, NamedTuple

import msgspec

encode: Final = msgspec.json.Encoder().encode

# After one of these nothing follows.
TERMINAL: Final = frozenset(("complete", "cancelled", "error"))


class Event(NamedTuple):
    type: str
    data: bytes  # a JSON object

    def row(self) -> bytes:
        """Give the JSON object the database reads; `data` stays byte for byte."""
        return b'{"type":"%b","data":%b}' % (self.type.encode(), self.data)


def make_event(kind: str, /, **data: Any) -> Event:
    return Event(kind, encode(data))


def join_rows(rows: list[bytes]) -> bytes:
    """Make a JSON array of objects that are JSON already."""
    return b"[" + b",".join(rows) + b"]"
