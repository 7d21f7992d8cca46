"""A dialect: one documented REST surface, its paths, its handlers and its way to word errors."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from litestar.handlers import HTTPRouteHandler

from db.domain.errors import AppError

ErrorTable = Mapping[type[AppError], tuple[int, str]]


class Problem(NamedTuple):
    """An error as every dialect sees it before wording it."""

    status: int
    code: str
    message: str
    request_id: str


Envelope = Callable[[Problem], dict[str, Any]]


class Dialect(NamedTuple):
    """`prefixes` decide who words an error of a path; the longest one wins."""

    name: str
    prefixes: tuple[str, ...]
    handlers: tuple[HTTPRouteHandler, ...]
    envelope: Envelope
    errors: ErrorTable
