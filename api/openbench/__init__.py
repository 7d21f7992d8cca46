"""openbench: contract/openbench.md. Runs of every kind are read here."""

from typing import Any, Final

from api.dialect import Dialect, Problem
from api.openbench import events, info, runs
from db.domain import errors


def envelope(problem: Problem) -> dict[str, Any]:
    return {"detail": problem.message, "code": problem.code, "error": problem.message}


DIALECT: Final = Dialect(
    name="openbench",
    prefixes=(
        "/api/runs", "/api/api-keys", "/api/available-models", "/api/benchmarks", "/api/version",
        "/api/health", "/docs", "/redoc", "/openapi.json", "/metrics",
    ),
    handlers=(*info.HANDLERS, *runs.HANDLERS, *events.HANDLERS),
    envelope=envelope,
    errors={errors.Invalid: (422, "VALIDATION_ERROR")},
)  # fmt: skip
