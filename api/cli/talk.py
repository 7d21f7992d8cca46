"""What the command says: data on stdout, talk on stderr."""

import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any, Final

import msgspec
from rich.console import Console
from rich.table import Table

ROOMY: Final = 100  # below that, columns stand close
EXCEPTION: Final = re.compile(r"(?!ERROR|WARNING|INFO)[\w.]+: ")  # a traceback's end
WIDE: Final = 200  # a table that goes to a file or a pipe is never folded


def say(text: str) -> None:
    """Tell the person at the terminal something, if there still is one; never raises OSError."""
    try:
        print(text, file=sys.stderr, flush=True)  # noqa: T201 - the one place that talks
    except OSError:  # what is left unsaid would make the interpreter's own exit fail
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 - for as long as we live


def brief(text: str) -> str:
    """Put a message on one line, with the most telling of the words it quotes."""
    lines = (line.strip(" \t|") for line in text.splitlines())  # exception groups draw bars
    first, *quoted = [line for line in lines if line] or [""]
    if not quoted:
        return first
    telling = [line for line in quoted if EXCEPTION.match(line)]
    return f"{first} It said: {(telling or quoted)[-1]}"


def data_console() -> Console:
    """Make a console for stdout; it obeys NO_COLOR and TERM by itself."""
    return Console(width=None if sys.stdout.isatty() else WIDE, highlight=False)


def talk_console() -> Console:
    return Console(stderr=True, highlight=False)


def put(*things: Any) -> None:
    """Write tables or lines of data, without the padding that only a terminal needs."""
    console = data_console()
    with console.capture() as capture:
        for thing in things:
            if isinstance(thing, Table) and console.width < ROOMY:
                thing.padding = 0
            console.print(thing, markup=False)
    put_text("\n".join(line.rstrip() for line in capture.get().splitlines()))


def put_json(value: Any) -> None:
    """Write one JSON document, indented for a person who looks."""
    encoded = value if isinstance(value, bytes) else msgspec.json.encode(value)
    put_text(msgspec.json.format(encoded, indent=2).decode())


def put_line(value: Any) -> None:
    """Write one line of JSON lines, at once."""
    put_text(msgspec.json.encode(value).decode())


def put_text(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - data


def program() -> str:
    """Name the command as this person can call it."""
    return "assay" if shutil.which("assay") else "python3 run.py"
