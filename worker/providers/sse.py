"""Server-sent events read from bytes, however they are cut."""

from collections.abc import Iterator
from typing import Final

from worker.providers.wire import BadResponse

BOM: Final = b"\xef\xbb\xbf"
EVENT_CAP: Final = 4 * 1024 * 1024


class EventReader:
    """Yields the data of each event; bytes stay bytes, so a cut UTF-8 sequence does no harm."""

    def __init__(self, cap: int = EVENT_CAP) -> None:
        self._cap = cap
        self._head: bytes | None = b""
        self._after_cr = False
        self._rest = bytearray()
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Yield the events `chunk` completes; raise BadResponse at one above the cap."""
        data = self._plain(chunk)
        end = data.rfind(b"\n")
        if end < 0:
            self._rest += data
        else:
            self._rest += data[:end]
            lines = bytes(self._rest).split(b"\n")
            self._rest = bytearray(data[end + 1 :])
            yield from self._events(lines)
        self._check(len(self._rest))

    def close(self) -> Iterator[bytes]:
        """Yield the last event where the stream ended without its blank line."""
        lines = [(self._head or b"") + bytes(self._rest), b""]
        self._rest.clear()
        yield from self._events(lines)

    def _events(self, lines: list[bytes]) -> Iterator[bytes]:
        for line in lines:
            if line.startswith(b"data:"):
                self._check(len(line))
                self._size += len(line)
                self._data.append(line[6:] if line.startswith(b"data: ") else line[5:])
            elif line:
                self._check(len(line))
            elif self._data:
                event = b"\n".join(self._data)
                self._data, self._size = [], 0
                yield event

    def _check(self, more: int) -> None:
        if self._size + more > self._cap:
            raise BadResponse(f"one event is larger than {self._cap} bytes")

    def _plain(self, chunk: bytes) -> bytes:
        """Return `chunk` without a leading BOM, its line ends all LF."""
        data = chunk if self._head is None else self._without_bom(chunk)
        if self._after_cr and data:
            self._after_cr = False
            data = data.removeprefix(b"\n")
        if b"\r" in data:
            self._after_cr = data.endswith(b"\r")
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return data

    def _without_bom(self, chunk: bytes) -> bytes:
        head = (self._head or b"") + chunk
        if len(head) < len(BOM) and BOM.startswith(head):
            self._head = head
            return b""
        self._head = None
        return head.removeprefix(BOM)
