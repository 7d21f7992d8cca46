"""Liveness, readiness and what crawlers ask for."""

from typing import Any, Final

from litestar import MediaType, Request, Response, get
from litestar.di import NamedDependency

from api.deps import Floor
from api.probes import probe_postgres, probe_redis


@get("/healthz", tags=["health"])
async def healthz(floor: NamedDependency[Floor]) -> dict[str, str]:
    """Say that the process and its event loop live; asks no store."""
    return {"status": "ok", "version": floor.settings.version}


@get("/readyz", tags=["health"])
async def readyz(floor: NamedDependency[Floor]) -> Response[dict[str, str]]:
    """Check the stores: 503 without Postgres, `degraded` without Redis (runs are still taken)."""
    checks = {"postgres": await probe_postgres(floor), "redis": await probe_redis(floor)}
    ready = checks["postgres"] == "ok"
    whole = ready and checks["redis"] == "ok"
    status = "ok" if whole else "degraded" if ready else "unavailable"
    return Response({"status": status, **checks}, status_code=200 if ready else 503)


@get("/robots.txt", media_type=MediaType.TEXT, include_in_schema=True, tags=["health"])
async def robots(request: Request[Any, Any, Any]) -> str:
    """Let crawlers read all but the API."""
    return f"User-agent: *\nAllow: /\nDisallow: /api/\nSitemap: {request.base_url}sitemap.xml\n"


@get("/sitemap.xml", media_type=MediaType.XML, tags=["health"])
async def sitemap(request: Request[Any, Any, Any]) -> bytes:
    """Name the one page there is."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"><url>'
        f"<loc>{request.base_url}</loc><changefreq>weekly</changefreq><priority>1.0</priority>"
        "</url></urlset>"
    ).encode()


HANDLERS: Final = (healthz, readyz, robots, sitemap)
