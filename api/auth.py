"""Who is calling. Accounts and tokens come with identity; until then ASSAY_AUTH=open serves one user."""

from typing import Any, Final, NamedTuple
from uuid import UUID

from litestar import Request

from db.domain.errors import Unauthenticated
from db.settings import Settings

LOCAL_USER: Final = UUID("00000000-0000-4000-8000-000000000001")


class Caller(NamedTuple):
    """An authenticated user."""

    id: UUID
    email: str
    role: str


LOCAL: Final = Caller(LOCAL_USER, "local@localhost", "admin")


def find_caller(request: Request[Any, Any, Any], settings: Settings) -> Caller | None:
    """Identify the caller; None where nobody is said. A bad token is never anonymous."""
    if request.headers.get("Authorization"):
        raise Unauthenticated("Invalid token")
    return LOCAL if settings.auth == "open" else None


def require_caller(request: Request[Any, Any, Any], settings: Settings) -> Caller:
    """Identify the caller; raise Unauthenticated."""
    caller = find_caller(request, settings)
    if caller is None:
        raise Unauthenticated
    return caller
