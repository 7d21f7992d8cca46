"""One speaker for all errors: it finds the dialect by path and words the problem in it."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from litestar import Request, Response
from litestar.exceptions import HTTPException, MethodNotAllowedException, ValidationException

from api.dialect import Dialect, ErrorTable, Problem
from db.domain import errors
from db.pool import OUTAGES

log: Final = logging.getLogger("assay.api")

DEFAULTS: Final[ErrorTable] = {
    errors.Invalid: (400, "VALIDATION_ERROR"),
    errors.Unauthenticated: (401, "AUTH_REQUIRED"),
    errors.Forbidden: (403, "AUTHZ_FORBIDDEN"),
    errors.RunNotFound: (404, "RUN_NOT_FOUND"),
    errors.NotFound: (404, "RESOURCE_NOT_FOUND"),
    errors.RunStillRunning: (400, "RUN_STILL_RUNNING"),
    errors.RunNotRunning: (400, "RUN_NOT_RUNNING"),
    errors.MethodNotAllowed: (405, "METHOD_NOT_ALLOWED"),
    errors.Conflict: (409, "RESOURCE_CONFLICT"),
    errors.BodyTooLarge: (413, "PAYLOAD_TOO_LARGE"),
    errors.WrongMediaType: (415, "UNSUPPORTED_MEDIA_TYPE"),
    errors.TooMany: (429, "RATE_LIMITED"),
    errors.Unavailable: (503, "SERVER_UNAVAILABLE"),
    errors.ProviderTimeout: (504, "EXTERNAL_TIMEOUT"),
    errors.ProviderFailed: (502, "EXTERNAL_SERVICE_ERROR"),
    errors.AppError: (500, "SERVER_ERROR"),
}
OF_STATUS: Final[Mapping[int, type[errors.AppError]]] = {
    400: errors.Invalid,
    401: errors.Unauthenticated,
    403: errors.Forbidden,
    404: errors.NotFound,
    405: errors.MethodNotAllowed,
    413: errors.BodyTooLarge,
    415: errors.WrongMediaType,
    429: errors.TooMany,
}
TOO_DEEP: Final = "The JSON is nested too deeply."


class Speaker:
    """The app's only exception handler, so that 404, 405, 413 and 500 speak the dialect too."""

    def __init__(self, dialects: Sequence[Dialect]) -> None:
        pairs = [(prefix, dialect) for dialect in dialects for prefix in dialect.prefixes]
        self._owners = sorted(pairs, key=lambda pair: len(pair[0]), reverse=True)

    def __call__(self, request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
        known = to_app_error(error)
        dialect = self.owner(request.scope["path"])
        status, code = look_up(dialect.errors, known)
        request_id = request.scope.get("state", {}).get("request_id", "")
        if status >= 500 and type(known) is errors.AppError:
            log.error("%s %s", request.method, request.scope["path"], exc_info=error)
            known = errors.AppError("Internal server error.")
        problem = Problem(status, code, str(known), request_id)
        return Response(
            dialect.envelope(problem),
            status_code=status,
            media_type="application/json",
            headers=_headers(known, status) | _allowed(error),
        )

    def owner(self, path: str) -> Dialect:
        """Find the dialect of a path by the longest prefix that ends at a segment."""
        for prefix, dialect in self._owners:
            if path == prefix or path.startswith(prefix.rstrip("/") + "/"):
                return dialect
        raise LookupError(path)


def to_app_error(error: Exception) -> errors.AppError:
    """Bring whatever was raised into our own tree."""
    if isinstance(error, errors.AppError):
        return error
    if isinstance(error, RecursionError):
        return errors.Invalid(TOO_DEEP)
    if isinstance(error, OUTAGES):
        return errors.Unavailable()
    if isinstance(error, HTTPException) and error.status_code in OF_STATUS:
        return OF_STATUS[error.status_code](_detail(error))
    return errors.AppError()


def look_up(table: ErrorTable, error: errors.AppError) -> tuple[int, str]:
    """Find status and code of the nearest class that the dialect, or the default, names."""
    for kind in type(error).__mro__:
        if kind in table:
            return table[kind]
        if kind in DEFAULTS:
            return DEFAULTS[kind]
    return DEFAULTS[errors.AppError]


def _detail(error: HTTPException) -> str:
    if isinstance(error, ValidationException) and error.extra:
        return "; ".join(map(_one, cast("list[Mapping[str, Any]]", error.extra)))
    return "" if error.status_code in (404, 405, 413) else error.detail


def _one(problem: Mapping[str, Any]) -> str:
    return f"{problem.get('key', 'request')}: {problem.get('message', 'is not valid')}"


def _allowed(error: Exception) -> dict[str, str]:
    """Say with a 405 which methods would do."""
    if isinstance(error, MethodNotAllowedException) and error.headers:
        return {"Allow": error.headers.get("allow", "")}
    return {}


def _headers(error: errors.AppError, status: int) -> dict[str, str]:
    if isinstance(error, errors.TooMany):
        return {"Retry-After": str(error.retry_after_s)}
    return {401: {"WWW-Authenticate": "Bearer"}, 503: {"Retry-After": "2"}}.get(status, {})
