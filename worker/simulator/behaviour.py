"""What a model name asks the simulator to do."""

import re
from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec

Fault = Literal[
    "", "rate-limited", "half-open", "garbage", "never-ends", "drip", "big", "redirect",
    "error-mid", "cut", "rst",
]  # fmt: skip
UsageTold = Literal["true", "lies", "none"]


class Behaviour(msgspec.Struct, frozen=True, kw_only=True):
    """Times are seconds; a status of 200 is an answer, any other an error."""

    ttft: float = 0.0
    itl: float = 0.0
    jitter: float = 0.0
    tokens: int = 64
    reasoning: int = 0
    chunk: int = 1
    status: int = 200
    retry_after: int = 1
    flaky: float = 0.0
    fault: Fault = ""
    usage: UsageTold = "true"
    split: bool = False
    echo: bool = False
    tool: bool = False

    @property
    def immediate(self) -> bool:
        """Whether the whole answer may leave in one write."""
        piecemeal = self.split or self.fault in {"never-ends", "drip", "big"}
        return not (self.ttft or self.itl or self.jitter or piecemeal)


NAMED: Final[Mapping[str, Mapping[str, Any]]] = {
    "fast": {"ttft": 0.020, "itl": 0.002},
    "slow": {"ttft": 0.600, "itl": 0.040},
    "echo": {"echo": True},
    "tool": {"tool": True},
    "rate-limited": {"fault": "rate-limited"},
    "half-open": {"fault": "half-open"},
    "garbage": {"fault": "garbage"},
    "never-ends": {"fault": "never-ends", "itl": 0.005},
    "drip": {"fault": "drip"},
    "big": {"fault": "big"},
    "redirect": {"fault": "redirect"},
    "lies": {"usage": "lies"},
    "no-usage": {"usage": "none"},
    "error-mid": {"fault": "error-mid"},
    "cut": {"fault": "cut"},
    "rst": {"fault": "rst"},
}
# Each key's field, and what one unit of its number is worth there.
KEYS: Final[Mapping[str, tuple[str, float]]] = {
    "ttft": ("ttft", 0.001),
    "itl": ("itl", 0.001),
    "jitter": ("jitter", 0.001),
    "flaky": ("flaky", 0.01),
    "n": ("tokens", 1),
    "reason": ("reasoning", 1),
    "chunk": ("chunk", 1),
    "status": ("status", 1),
    "retry": ("retry_after", 1),
    "split": ("split", 1),
}
PART: Final = re.compile(
    rf"(?:({'|'.join(KEYS)})-(\d{{1,9}}(?:\.\d{{1,6}})?)|({'|'.join(NAMED)}))(?:-|$)"
)
TOKEN_CAP: Final = 100_000
LISTED: Final = (*NAMED, "flaky-20", "status-503", "ttft-200-itl-10-n-64")


def parse(model: str) -> Behaviour | None:
    """Return the behaviour that `model` names, parts joined by hyphens; None: no such model."""
    name = model.removeprefix("sim/").removeprefix("sim-")
    fields: dict[str, Any] = {}
    if name.endswith("-"):
        return None
    while name:
        part = PART.match(name)
        if part is None:
            return None
        fields |= NAMED[part[3]] if part[3] else _keyed(part[1], part[2])
        name = name[part.end() :]
    return _checked(fields) if fields else None


def _keyed(key: str, digits: str) -> dict[str, Any]:
    field, unit = KEYS[key]
    number = float(digits)
    return {field: int(number) if unit == 1 else number * unit}


def _checked(fields: dict[str, Any]) -> Behaviour | None:
    fields["split"] = bool(fields.get("split"))
    behaviour = msgspec.convert(fields, Behaviour)
    sane = 200 <= behaviour.status <= 599 and behaviour.chunk > 0 and behaviour.flaky <= 1
    return behaviour if sane and 0 < behaviour.tokens + behaviour.reasoning <= TOKEN_CAP else None
