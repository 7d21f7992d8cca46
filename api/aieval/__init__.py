"""aieval: contract/aieval.md. So far its way to word errors; its routes come with its own part."""

from typing import Any, Final

from api.dialect import Dialect, Problem
from db.domain import errors


def envelope(problem: Problem) -> dict[str, Any]:
    return {"error": {"code": problem.code, "message": problem.message}}


DIALECT: Final = Dialect(
    name="aieval",
    prefixes=(
        "/health", "/api/v1/evaluate", "/api/v1/suite", "/api/v1/prompts", "/api/v1/suites",
        "/api/v1/leaderboard", "/api/v1/benchmark", "/api/v1/optimize",
    ),
    handlers=(),
    envelope=envelope,
    errors={
        errors.Invalid: (400, "INVALID_REQUEST"),
        errors.NotFound: (404, "NOT_FOUND"),
        errors.Conflict: (400, "INVALID_REQUEST"),
        errors.ProviderTimeout: (504, "TIMEOUT"),
        errors.ProviderFailed: (502, "PROVIDER_ERROR"),
        errors.AppError: (500, "INTERNAL_ERROR"),
    },
)  # fmt: skip
