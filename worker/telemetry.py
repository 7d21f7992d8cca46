"""What Prometheus sees of a worker process, on `ASSAY_WORKER_METRICS_PORT` when it is set."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from db.domain.catalog import PROVIDERS
from worker.reply import Reply

REGISTRY: Final = CollectorRegistry()
ATTEMPTS: Final = Counter(
    "assay_provider_requests_total", "Calls to providers, by how they ended.",
    ("provider", "outcome"), registry=REGISTRY,
)  # fmt: skip
TTFT: Final = Histogram(
    "assay_provider_time_to_first_token_seconds", "First content after the request was sent.",
    ("provider",), registry=REGISTRY,
    buckets=(0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96),
)  # fmt: skip
TOKENS: Final = Counter(
    "assay_provider_tokens_total", "Tokens as the providers count them.", ("provider", "type"),
    registry=REGISTRY,
)  # fmt: skip
WAITED: Final = Counter(
    "assay_provider_waited_seconds_total", "Waiting for limits and after failures.", ("provider",),
    registry=REGISTRY,
)  # fmt: skip
LOST: Final = Counter(
    "assay_lease_lost_total", "Slices that another worker took over.", registry=REGISTRY
)
BUSY: Final = Gauge("assay_worker_slices", "Slices in hand.", registry=REGISTRY)
SLOTS: Final = Gauge("assay_worker_slots", "Slices this process may hold.", registry=REGISTRY)


def observe(provider: str, reply: Reply, waited_s: float) -> None:
    """Count one attempt; labels come from the catalog, so there are few."""
    label = provider if provider in PROVIDERS else "other"
    ATTEMPTS.labels(label, reply.error.code.lower() if reply.error else "ok").inc()
    WAITED.labels(label).inc(waited_s)
    if reply.arrivals:
        TTFT.labels(label).observe(reply.arrivals[0] - reply.sent)
    if reply.usage:
        TOKENS.labels(label, "input").inc(reply.usage.input_tokens or 0)
        TOKENS.labels(label, "output").inc(reply.usage.output_tokens or 0)


def expose(host: str, port: int) -> None:
    """Serve the metrics from a thread of their own, so that a scrape delays no stamp."""
    start_http_server(port, addr=host, registry=REGISTRY)
