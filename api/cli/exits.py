"""How the command ends: one table of exit codes, and the exception that carries one."""

from collections.abc import Mapping
from typing import Final

OK: Final = 0
FAILURE: Final = 1
USAGE: Final = 2
INVALID: Final = 3
NOT_FOUND: Final = 5
UNREACHABLE: Final = 6
RUN_FAILED: Final = 11
SETTINGS: Final = 78
INTERRUPTED: Final = 130

EXITS: Final[Mapping[int, str]] = {
    OK: "all went well",
    FAILURE: "it did not work; stderr says why",
    USAGE: "the command line is not valid",
    INVALID: "the service refused the request as invalid",
    NOT_FOUND: "there is no such run",
    UNREACHABLE: "the service cannot be reached",
    RUN_FAILED: "the run failed, was cancelled, or no sample of it succeeded",
    SETTINGS: "a setting (environment variable) is not valid",
    INTERRUPTED: "interrupted by Ctrl-C",
}


class Ended(Exception):
    """The command cannot go on; `hint` says what to do about it."""

    def __init__(self, message: str, code: int = FAILURE, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.hint = hint


def words() -> str:
    """Give the table as text, a paragraph per code."""
    return "\n\n".join(f"{code} {meaning}" for code, meaning in EXITS.items())
