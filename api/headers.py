"""What every response carries: a request id and the browser's walls."""

import re
from collections.abc import Awaitable, Callable
from typing import Any, Final
from uuid import uuid4

from litestar.datastructures import Headers
from litestar.types import ASGIApp, Message, Receive, Scope, Send

REQUEST_ID: Final = re.compile(r"[\w-]{8,64}", re.ASCII)
CSP: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; frame-ancestors 'none'"
)
# the documentation pages start themselves with an inline script
DOCS_CSP: Final = (
    CSP.replace("script-src 'self'", "script-src 'self' 'unsafe-inline'").replace(
        "style-src 'self'", "style-src 'self' 'unsafe-inline'"
    )
    + "; worker-src blob:"
)
WALLS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"strict-origin-when-cross-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=(), payment=()"),
)


def add_headers(app: ASGIApp) -> ASGIApp:
    """Wrap the app: an acceptable `X-Request-Id` is kept, any other is replaced."""

    async def with_headers(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        given = Headers.from_scope(scope).get("x-request-id", "")
        request_id = given if REQUEST_ID.fullmatch(given) else str(uuid4())
        scope["state"]["request_id"] = request_id  # pyright: ignore[reportTypedDictNotRequiredAccess]
        csp = DOCS_CSP if scope["path"].rstrip("/") in ("/docs", "/redoc") else CSP
        await app(scope, receive, _adding(send, request_id, csp))

    return with_headers


def _adding(send: Send, request_id: str, csp: str) -> Callable[[Message], Awaitable[None]]:
    extra = (
        (b"x-request-id", request_id.encode()),
        (b"content-security-policy", csp.encode()),
        *WALLS,
    )

    async def adding(message: Any) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], *extra]
        await send(message)

    return adding
