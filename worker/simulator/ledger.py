"""What was truly sent and when: one record per request, the newest 200,000."""

from array import array
from collections import deque
from itertools import islice
from typing import Any, Final, Literal

import msgspec

CAPACITY: Final = 200_000
STAMP_CAP: Final = 100_000
Outcome = Literal["complete", "disconnected", "rst", "cut", "open"]


def _stamps() -> "array[float]":
    return array("d")


class Record(msgspec.Struct, kw_only=True, gc=False):
    """Times are time.perf_counter() seconds, taken right after the write."""

    id: str
    n: int
    wire: str
    model: str
    client_request_id: str
    received: float
    prompt_chars: int
    prompt_sha256: str
    status: int = 200
    tokens: int = 0
    outcome: Outcome = "open"
    headers_sent: float | None = None
    sent: Any = msgspec.field(default_factory=_stamps)
    finished: float | None = None
    disconnected: float | None = None

    def stamp(self, now: float, events: int, tokens: int) -> None:
        """Note `events` token events that left in one write."""
        self.tokens += tokens
        if events and len(self.sent) < STAMP_CAP:
            self.sent.extend([now] * events)


def _listed(value: Any) -> Any:
    if isinstance(value, array):
        return value.tolist()  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    raise NotImplementedError


_ENCODER: Final = msgspec.json.Encoder(enc_hook=_listed)


class Ledger:
    def __init__(self) -> None:
        self._records: deque[Record] = deque(maxlen=CAPACITY)

    def add(self, record: Record) -> None:
        self._records.append(record)

    def clear(self) -> None:
        self._records.clear()

    def encode(self, since: int, prefix: str, limit: int) -> bytes:
        """Return a JSON array of the records after number `since`, oldest first."""
        found = (
            record
            for record in self._records
            if record.n > since and record.client_request_id.startswith(prefix)
        )
        return _ENCODER.encode(list(islice(found, limit)))
