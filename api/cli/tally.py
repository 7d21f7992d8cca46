"""What a run's events add up to so far: pure."""

from typing import Any, Final

import msgspec

from api.cli.sse import Event

CURRENCY: Final = "$"


class Tally:
    """Counts as events are fed to it; `total` is 0 until one tells it."""

    def __init__(self, total: int = 0) -> None:
        self.status = "queued"
        self.total = total
        self.done = 0
        self.failed = 0
        self.cost = 0.0
        self.at = ""  # what was measured last

    def feed(self, event: Event) -> None:
        data: dict[str, Any] = msgspec.json.decode(event.data)
        match event.type:
            case "status":
                self.status = str(data.get("status", self.status))
            case "progress":
                self.done = int(data.get("current") or self.done)
                self.total = int(data.get("total") or self.total)
                self.at = f"{data.get('model', '')} at {data.get('context_tokens', 0)} tokens"
            case "result":
                self.failed += not data.get("success", True)
                self.cost += data.get("cost") or 0.0
            case _:
                pass

    def words(self, elapsed_s: float) -> str:
        """Put the count, the rate and the time to go on one line."""
        parts = [f"{self.done}/{self.total or '?'} samples"]
        if self.done and elapsed_s > 0:
            rate = self.done / elapsed_s
            parts.append(f"{rate:.1f}/s")
            if self.total > self.done:
                parts.append(f"{(self.total - self.done) / rate:.0f} s to go")
        if self.failed:
            parts.append(f"{self.failed} failed")
        if self.cost:
            parts.append(f"{CURRENCY}{self.cost:.4f}")
        return ", ".join(parts)
