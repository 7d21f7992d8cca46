"""kitt: contract/kitt.md. So far its way to word errors; its routes come with its own part."""

from typing import Any, Final

from api.dialect import Dialect, Problem


def envelope(problem: Problem) -> dict[str, Any]:
    return {"error": problem.message}


DIALECT: Final = Dialect(
    name="kitt", prefixes=("/api/v1",), handlers=(), envelope=envelope, errors={}
)
