"""One HTTP answer: its head, its steps, its end."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from worker.simulator.ledger import Record
from worker.simulator.script import Ending, Step

PHRASES: Final = {200: "OK", 302: "Found", 400: "Bad Request", 401: "Unauthorized"} | {
    404: "Not Found",
    405: "Method Not Allowed",
    413: "Content Too Large",
    429: "Too Many Requests",
    500: "Internal Server Error",
    503: "Service Unavailable",
}
JSON: Final = "application/json"
SSE: Final = "text/event-stream; charset=utf-8"
STREAM_HEAD: Final = (
    f"HTTP/1.1 200 OK\r\ncontent-type: {SSE}\r\ncache-control: no-cache\r\n"
    "transfer-encoding: chunked\r\n\r\n"
).encode()


class Reply(NamedTuple):
    """The head leaves with the first step; chunked steps are framed by who writes them."""

    head: bytes
    steps: Iterator[Step]
    chunked: bool = False
    ending: Ending = "complete"
    record: Record | None = None


def head(status: int, content_type: str, length: int, **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} {PHRASES.get(status, 'Status')}", f"content-type: {content_type}"]
    lines.append(f"content-length: {length}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


def plain(body: bytes, status: int = 200, content_type: str = JSON, **headers: str) -> Reply:
    """Return an answer that is written at once and not in the ledger."""
    return Reply(head(status, content_type, len(body), **headers), iter([Step(0.0, body)]))
