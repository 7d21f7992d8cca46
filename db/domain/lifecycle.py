"""The one lifecycle of a run, and of the slices it is cut into."""

from collections.abc import Mapping
from typing import Final, Literal

State = Literal["queued", "running", "completed", "failed", "cancelled"]

# A slice goes back to `queued` only together with a new epoch, which fences off its last holder.
TRANSITIONS: Final[Mapping[State, frozenset[State]]] = {
    "queued": frozenset(("running", "cancelled", "failed")),
    "running": frozenset(("queued", "completed", "failed", "cancelled")),
    "completed": frozenset(),
    "failed": frozenset(),
    "cancelled": frozenset(),
}
TERMINAL: Final = frozenset(state for state, after in TRANSITIONS.items() if not after)

# A slice whose holder died this many times in a row without storing a sample is poison.
POISON_CRASHES: Final = 3


def may_follow(before: State, after: State) -> bool:
    """Say whether `after` may come directly after `before`."""
    return after in TRANSITIONS[before]
