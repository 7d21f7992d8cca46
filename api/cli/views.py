"""The parts of the API's answers that the command reads; the rest passes through untouched."""

from typing import Any

import msgspec

from db.domain.summaries import BenchmarkSummary


class Created(msgspec.Struct, frozen=True, kw_only=True):
    run_id: str


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    status: str


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    planned: int
    done: int
    failed: int
    elapsed_s: float | None = None


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """A run in a list."""

    run_id: str
    kind: str
    model: str
    status: str
    created_at: str
    progress: Progress


class Detail(Item, frozen=True, kw_only=True):
    """A run in full."""

    finished_at: str | None = None
    error: str | None = None
    error_code: str | None = None
    summary: msgspec.Raw = msgspec.Raw(b"null")

    @property
    def result(self) -> BenchmarkSummary | None:
        """Return the summary, when there is one and it is of a kind known here."""
        try:
            return msgspec.json.decode(self.summary, type=BenchmarkSummary | None)
        except msgspec.ValidationError:
            return None

    @property
    def succeeded(self) -> bool:
        """Say whether it completed and measured anything."""
        measured = self.progress.failed < self.progress.done or not self.progress.planned
        return self.status == "completed" and measured


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """Some of a run's samples."""

    samples: list[dict[str, Any]]
    attempts: list[dict[str, Any]]
    next_after: int | None = None
