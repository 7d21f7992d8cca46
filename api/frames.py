"""Server-sent events as bytes: pure, and encoded once for all who read the same words."""

from collections.abc import Callable, Sequence
from typing import Final

from db.bus import Told
from db.domain.events import TERMINAL

RETRY: Final = b"retry: 2000\n\n"
Flavour = Callable[[Told], bytes]


def studio(told: Told) -> bytes:
    """Only `id:` and `data:` lines; the type is inside the JSON."""
    inside = b"}" if told.data == b"{}" else b"," + told.data[1:]
    return b'id: %d\ndata: {"type":"%b"%b\n\n' % (told.seq, told.type.encode(), inside)


def openbench(told: Told) -> bytes:
    return b"event: %b\ndata: %b\nid: %d\n\n" % (told.type.encode(), told.data, told.seq)


def nameless(kind: str, data: bytes) -> bytes:
    """An event without an id: it is not part of the log and moves no `Last-Event-ID`."""
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), data)


class Frames:
    """Consecutive events of one run."""

    __slots__ = ("_encoded", "events", "first", "last")

    def __init__(self, events: Sequence[Told]) -> None:
        self.events = events
        self.first, self.last = events[0].seq, events[-1].seq
        self._encoded: dict[Flavour, bytes] = {}

    @property
    def terminal(self) -> Told | None:
        return self.events[-1] if self.events[-1].type in TERMINAL else None

    def after(self, seq: int) -> "Frames | None":
        """Leave out what is at or before `seq`."""
        if self.first > seq:
            return self
        return Frames(self.events[seq - self.first + 1 :]) if self.last > seq else None

    def encode(self, flavour: Flavour) -> bytes:
        if flavour not in self._encoded:
            self._encoded[flavour] = b"".join(map(flavour, self.events))
        return self._encoded[flavour]
