"""studio: contract/studio.md. Owns every path that nobody else does."""

from typing import Any, Final

from api.dialect import Dialect, Problem
from api.studio import benchmark, health


def envelope(problem: Problem) -> dict[str, Any]:
    """Say the text twice: its clients read `detail`, flperf's on shared paths read `error`."""
    return {"detail": problem.message, "code": problem.code, "error": problem.message}


DIALECT: Final = Dialect(
    name="studio",
    prefixes=("/",),
    handlers=(*health.HANDLERS, *benchmark.HANDLERS),
    envelope=envelope,
    errors={},
)
