"""Shows a run's progress: a bar on a terminal, lines elsewhere, or the events as JSON lines."""

import sys
import time
from typing import Final, Protocol

import msgspec
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
)

from api.cli.sse import Event
from api.cli.talk import put_line, say, talk_console
from api.cli.tally import Tally

EVERY_S: Final = 10.0


class Display(Protocol):
    def hear(self, event: Event) -> None: ...

    def tick(self) -> None:
        """Be told every second that time goes by."""
        ...

    def close(self) -> None: ...


def choose_display(*, as_json: bool, total: int = 0) -> Display:
    if as_json:
        return JsonLines()
    return Bar(Tally(total)) if sys.stderr.isatty() else Lines(Tally(total))


class JsonLines:
    """The events themselves, on stdout."""

    def hear(self, event: Event) -> None:
        put_line({"event": event.type, "id": event.seq, "data": msgspec.Raw(event.data)})

    def tick(self) -> None: ...

    def close(self) -> None: ...


class Lines:
    """A line per milestone, and one every ten seconds."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._began = self._told = time.monotonic()

    def hear(self, event: Event) -> None:
        before = self._tally.status
        self._tally.feed(event)
        if self._tally.status != before:
            say(f"  {self._tally.status}")
            self._began = self._told = time.monotonic()

    def tick(self) -> None:
        if time.monotonic() - self._told >= EVERY_S:
            self._tell()

    def close(self) -> None:
        if self._tally.done:
            self._tell()

    def _tell(self) -> None:
        self._told = time.monotonic()
        say(f"  {self._tally.words(self._told - self._began)}")


class Bar:
    """A bar on stderr with count, rate, time to go, failures and cost."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=12),
            MofNCompleteColumn(),
            TextColumn("{task.fields[more]}"),
            console=talk_console(),
            transient=True,
        )
        self._task = self._progress.add_task("queued", total=tally.total or None, more="")
        self._progress.start()

    def hear(self, event: Event) -> None:
        self._tally.feed(event)
        self._progress.update(
            self._task,
            description=self._tally.at or self._tally.status,
            completed=self._tally.done,
            total=self._tally.total or None,
            more=self._more(),
        )

    def _more(self) -> str:
        elapsed = self._progress.tasks[0].elapsed or 0.0
        return ", ".join(self._tally.words(elapsed).split(", ")[1:])

    def tick(self) -> None: ...

    def close(self) -> None:
        self._progress.stop()
