"""What Prometheus sees of the API: requests by route, streams, and the queue as Postgres has it."""

import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from litestar.types import ASGIApp, Message, Receive, Scope, Send
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from api.deps import Floor
from db.runs import count_by_state

REGISTRY: Final = CollectorRegistry()
REQUESTS: Final = Counter(
    "assay_http_requests_total", "Answered requests.", ("method", "route", "status_class"),
    registry=REGISTRY,
)  # fmt: skip
DURATION: Final = Histogram(
    "assay_http_request_duration_seconds", "Time to answer, streams excluded.",
    ("method", "route"), registry=REGISTRY,
)  # fmt: skip
STREAMS: Final = Gauge("assay_sse_connections", "Open event streams.", registry=REGISTRY)
DEPTH: Final = Gauge(
    "assay_queue_depth", "Runs that are not over.", ("kind", "state"), registry=REGISTRY
)
OLDEST: Final = Gauge(
    "assay_queue_oldest_timestamp_seconds", "When the oldest of them was created.",
    ("kind", "state"), registry=REGISTRY,
)  # fmt: skip


def count_requests(app: ASGIApp) -> ASGIApp:
    """Wrap the app: every answer is counted under its route's template, never its path."""

    async def counted(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        began = time.perf_counter()
        await app(scope, receive, _observing(scope, send, began))

    return counted


async def expose(floor: Floor) -> bytes:
    """Read the queue and render all metrics."""
    STREAMS.set(floor.hub.streams)
    DEPTH.clear()
    OLDEST.clear()
    for row in await count_by_state(floor.pool):
        DEPTH.labels(row["kind"], row["state"]).set(row["runs"])
        OLDEST.labels(row["kind"], row["state"]).set(row["oldest"].timestamp())
    return generate_latest(REGISTRY)


def _observing(scope: Any, send: Send, began: float) -> Callable[[Message], Awaitable[None]]:
    async def observed(message: Message) -> None:
        if message["type"] == "http.response.start":
            route = scope.get("path_template") or "unknown"
            REQUESTS.labels(scope["method"], route, f"{message['status'] // 100}xx").inc()
            if not _is_stream(message):
                DURATION.labels(scope["method"], route).observe(time.perf_counter() - began)
        await send(message)

    return observed


def _is_stream(start: Any) -> bool:
    return any(
        name == b"content-type" and value.startswith(b"text/event-stream")
        for name, value in start["headers"]
    )
