"""The answers that are no answers: statuses, redirects, garbage, limits."""

import zlib
from collections import deque
from collections.abc import Callable
from typing import Final

from worker.simulator.behaviour import Behaviour
from worker.simulator.reply import JSON, SSE, Reply, head
from worker.simulator.script import Step

PER_SECOND: Final = 5
ELSEWHERE: Final = "http://127.0.0.1:9/elsewhere"
HTML: Final = b"<!DOCTYPE html><html><body><h1>502 Bad Gateway</h1></body></html>\n"
GARBAGE: Final = (
    (SSE, b'data: {"id":"broken","choices":[{"delta":{"content":"he\n\n'),
    ("text/html", HTML),
    ("application/octet-stream", bytes(range(256))),
)
FLAKY: Final = (500, 503, 429, 0)  # 0: the connection is reset mid-stream


class Window:
    """Lets `PER_SECOND` requests through in any one second."""

    def __init__(self) -> None:
        self._passed: deque[float] = deque(maxlen=PER_SECOND)

    def full(self, now: float) -> bool:
        if len(self._passed) == PER_SECOND and now - self._passed[0] < 1.0:
            return True
        self._passed.append(now)
        return False


def flaked(behaviour: Behaviour, identity: str) -> int | None:
    """Return the failure that `identity` draws: a status, 0 for a reset, None for none."""
    draw = zlib.crc32(identity.encode())
    if draw % 10_000 >= behaviour.flaky * 10_000:
        return None
    return FLAKY[draw // 10_000 % len(FLAKY)]


def status_reply(behaviour: Behaviour, error: Callable[[int, str], bytes], status: int) -> Reply:
    body = error(status, f"simulated status {status}")
    retry = {"retry_after": str(behaviour.retry_after)} if status in {429, 503} else {}
    steps = iter([Step(behaviour.ttft, body)])
    return Reply(head(status, JSON, len(body), **retry), steps)


def redirect() -> Reply:
    return Reply(head(302, JSON, 2, location=ELSEWHERE), iter([Step(0.0, b"{}")]))


def garbage(turn: int) -> Reply:
    content_type, body = GARBAGE[turn % len(GARBAGE)]
    return Reply(head(200, content_type, len(body)), iter([Step(0.0, body)]))
