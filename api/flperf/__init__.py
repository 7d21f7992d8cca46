"""flperf: contract/flperf.md. So far its way to word errors; its routes come with its own part."""

from typing import Any, Final

from api.dialect import Dialect, Problem
from db.domain import errors


def envelope(problem: Problem) -> dict[str, Any]:
    return {"error": problem.message}


DIALECT: Final = Dialect(
    name="flperf",
    prefixes=(
        "/api/models", "/api/system", "/api/benchmarks/suites", "/api/benchmarks/run",
        "/api/benchmarks/runs", "/api/benchmarks/results",
    ),
    handlers=(),
    envelope=envelope,
    errors={errors.ProviderFailed: (503, "EXTERNAL_SERVICE_ERROR")},
)  # fmt: skip
