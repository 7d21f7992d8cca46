"""The application: five dialects on one floor."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from litestar import Litestar, Router
from litestar.config.cors import CORSConfig
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin, RedocRenderPlugin, SwaggerRenderPlugin
from litestar.static_files import (
    create_static_files_router,  # pyright: ignore[reportUnknownVariableType] - its defaults
)

from api import aieval, flperf, kitt, openbench, studio
from api.deps import DEPENDENCIES, Floor
from api.dialect import Dialect
from api.errors import Speaker
from api.headers import add_headers
from api.relay import Hub
from api.telemetry import count_requests
from db.migrate import require_schema
from db.pool import open_pool
from db.queue import Doorbell, close_redis, open_redis
from db.settings import Settings

DIALECTS: Final[tuple[Dialect, ...]] = (
    studio.DIALECT, openbench.DIALECT, aieval.DIALECT, kitt.DIALECT, flperf.DIALECT,
)  # fmt: skip
VENDOR: Final = Path(__file__).parent / "web" / "vendor"
BODY_LIMIT: Final = 10 * 1024 * 1024


def create_app(settings: Settings) -> Litestar:
    """Build the app; it reaches its stores when it starts."""
    speaker = Speaker(DIALECTS)
    assets = create_static_files_router(path="/ui/vendor", directories=[VENDOR])
    app = Litestar(
        route_handlers=[*(h for dialect in DIALECTS for h in dialect.handlers), assets],
        dependencies=DEPENDENCIES,
        exception_handlers={Exception: speaker},
        lifespan=[_floor(settings)],
        openapi_config=_openapi(settings),
        cors_config=_cors(settings),
        request_max_body_size=BODY_LIMIT,
    )
    # around the router, not in it: what no route answers has headers and is counted too
    app.asgi_handler = add_headers(count_requests(app.asgi_handler))
    return app


def _floor(settings: Settings) -> Any:
    @asynccontextmanager
    async def floor(app: Litestar) -> AsyncGenerator[None]:
        pool = await open_pool(settings.database_url, settings.pool_size)
        await require_schema(pool)
        redis = open_redis(settings.redis_url)
        hub = Hub(pool, redis)
        listening = asyncio.create_task(hub.run())
        app.state.floor = Floor(settings, pool, redis, Doorbell(redis), hub)
        yield
        hub.close()
        listening.cancel()
        await asyncio.wait({listening})
        await close_redis(redis)
        await pool.close()

    return floor


def _cors(settings: Settings) -> CORSConfig | None:
    if not settings.cors_origins:
        return None
    return CORSConfig(
        allow_origins=list(settings.cors_origins),
        allow_methods=["GET", "POST", "PUT", "DELETE", "PATCH"],
        allow_headers=["Authorization", "Content-Type", "Last-Event-ID"],
        allow_credentials="*" not in settings.cors_origins,
    )


class Pages(Router):
    """Without what Litestar 2.25 adds: an HTML 404 for every path of one segment, and OAuth."""

    def register(self, value: Any) -> list[Any]:
        unwanted = {"/{path:str}", "/oauth2-redirect.html"} & set(value.paths)
        return [] if unwanted else super().register(value)


def _openapi(settings: Settings) -> OpenAPIConfig:
    """Serve the documentation pages from our own files: no foreign host sees our readers."""
    favicon = "<link rel='icon' href='data:,'>"
    return OpenAPIConfig(
        title="Assay",
        version=settings.version,
        use_handler_docstrings=True,
        openapi_router=Pages("/", route_handlers=[], include_in_schema=False),
        render_plugins=[
            JsonRenderPlugin(path="/openapi.json"),
            SwaggerRenderPlugin(
                path="/docs",
                js_url="/ui/vendor/swagger-ui-bundle.js",
                css_url="/ui/vendor/swagger-ui.css",
                standalone_preset_js_url="/ui/vendor/swagger-ui-standalone-preset.js",
                favicon=favicon,
            ),
            RedocRenderPlugin(
                path="/redoc",
                js_url="/ui/vendor/redoc.standalone.js",
                google_fonts=False,
                favicon=favicon,
            ),
        ],
    )
