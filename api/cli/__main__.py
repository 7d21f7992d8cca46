"""Run the `assay` command: `python -m api.cli`."""

import os
import sys

import rich_click as click

from api.cli.context import Context
from api.cli.exits import FAILURE, INTERRUPTED, SETTINGS, Ended
from api.cli.talk import brief, say
from api.cli.tree import root
from db.domain.errors import AppError
from db.embedded.errors import EmbeddedError
from db.settings import SettingsInvalid

FORESEEN = (Ended, AppError, EmbeddedError, click.ClickException, click.Abort, OSError)


def main() -> int:
    """Run one verb and return its exit code; only what nobody foresaw ends in a traceback."""
    try:
        ended = root.main(prog_name="assay", obj=Context(os.environ), standalone_mode=False)
    except FORESEEN as problem:
        return explain(problem)
    return ended if isinstance(ended, int) else 0


def explain(problem: Exception) -> int:
    """Say what went wrong, and return the exit code for it."""
    match problem:
        case Ended():
            complain(str(problem), problem.hint)
            return problem.code
        case click.ClickException():
            problem.show()
            return problem.exit_code
        case click.Abort():
            complain("interrupted")
            return INTERRUPTED
        case _:
            complain(brief(str(problem)))
            return SETTINGS if isinstance(problem, SettingsInvalid) else FAILURE


def complain(message: str, hint: str = "") -> None:
    for line in filter(None, (message and f"assay: {message}", hint and f"       {hint}")):
        say(line)


if __name__ == "__main__":
    sys.exit(main())
