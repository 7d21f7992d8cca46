"""Reads server-sent events however their bytes are cut: pure."""

from typing import NamedTuple


class Event(NamedTuple):
    """One event; `seq` is 0 for one that is not part of the run's log."""

    type: str
    data: bytes
    seq: int


class Parser:
    def __init__(self) -> None:
        self._rest = b""
        self._fields: dict[bytes, bytes] = {}

    def feed(self, data: bytes) -> list[Event]:
        """Return the events that are complete now."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        found = [self._take(line.rstrip(b"\r")) for line in lines]
        return [event for event in found if event]

    def _take(self, line: bytes) -> Event | None:
        if line:
            name, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if name == b"data" and b"data" in self._fields:
                value = self._fields[b"data"] + b"\n" + value
            self._fields[name] = value
            return None
        fields, self._fields = self._fields, {}
        if b"data" not in fields:
            return None
        seq = fields.get(b"id", b"")
        kind = fields.get(b"event", b"message").decode()
        return Event(kind, fields[b"data"], int(seq) if seq.isdigit() else 0)
