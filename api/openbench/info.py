"""Health, version and metrics, shared by all dialects."""

import time
from datetime import UTC, datetime
from typing import Any, Final

from litestar import Response, get
from litestar.di import NamedDependency

from api.deps import Floor
from api.openbench.runs import zulu
from api.probes import probe_postgres
from api.telemetry import expose

STARTED: Final = time.monotonic()


@get("/api/health", tags=["health"])
async def health(floor: NamedDependency[Floor]) -> dict[str, Any]:
    """Say that the service lives, how long already, and whether its database answers."""
    return {
        "status": "ok",
        "version": floor.settings.version,
        "time": zulu(datetime.now(UTC)),
        "uptime": round(time.monotonic() - STARTED, 3),
        "database": await probe_postgres(floor),
    }


@get("/api/version", tags=["health"])
async def version(floor: NamedDependency[Floor]) -> dict[str, Any]:
    """Name the versions of this service; it brings no openbench package."""
    return {
        "web_ui": "1.0.0",
        "openbench": None,
        "openbench_available": False,
        "assay": floor.settings.version,
    }


@get("/metrics", tags=["health"], media_type="text/plain")
async def metrics(floor: NamedDependency[Floor]) -> Response[bytes]:
    """Expose this process and the queue to Prometheus."""
    return Response(await expose(floor), media_type="text/plain; version=0.0.4; charset=utf-8")


HANDLERS: Final = (health, version, metrics)
