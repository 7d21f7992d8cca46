"""What TTFT, ITL, TPOT and throughput mean here, each defined once.

All stamps are seconds of one monotonic clock. The field disagrees on these words; ours:

* TTFT = first non-empty content, reasoning or tool-call delta - request sent.
* ITL = one gap between consecutive content events; a distribution, not a mean.
* TPOT = (last token - first token) / (n - 1) per request, None when n < 2,
  so that end-to-end = TTFT + (n - 1) x TPOT.
* tps = output tokens / (end - sent), TTFT included, as studio documents it.
* output speed = (n - 1) / (last token - first token), the rate once tokens flow.
"""

from collections.abc import Sequence
from itertools import pairwise

import msgspec


class Stamps(msgspec.Struct, frozen=True, kw_only=True):
    """When each thing happened to one call; `arrivals` holds one stamp per content event."""

    sent: float
    end: float
    first_byte: float | None = None
    first_answer: float | None = None
    arrivals: Sequence[float] = ()


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """Durations of one call in milliseconds; tps in tokens per second."""

    ttft_ms: float | None
    total_ms: float
    first_byte_ms: float | None
    first_answer_ms: float | None
    tpot_ms: float | None
    tps: float | None
    input_tps: float | None
    output_tps: float | None
    itl_ms: tuple[float, ...]


def measure(stamps: Stamps, output_tokens: int | None, input_tokens: int | None) -> Timing:
    """Derive every duration of one call from its stamps."""
    arrivals = stamps.arrivals
    ttft = arrivals[0] - stamps.sent if arrivals else None
    total = stamps.end - stamps.sent
    flow = arrivals[-1] - arrivals[0] if arrivals else 0.0
    steps = (output_tokens or 0) - 1
    return Timing(
        ttft_ms=_ms(ttft),
        total_ms=total * 1e3,
        first_byte_ms=_since(stamps.sent, stamps.first_byte),
        first_answer_ms=_since(stamps.sent, stamps.first_answer),
        tpot_ms=flow / steps * 1e3 if steps > 0 and len(arrivals) > 1 else None,
        tps=_rate(output_tokens, total),
        input_tps=_rate(input_tokens, ttft),
        output_tps=_rate(steps if steps > 0 else None, flow),
        itl_ms=tuple(round((after - before) * 1e3, 3) for before, after in pairwise(arrivals)),
    )


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1e3


def _since(start: float, stamp: float | None) -> float | None:
    return None if stamp is None else (stamp - start) * 1e3


def _rate(tokens: int | None, seconds: float | None) -> float | None:
    return tokens / seconds if tokens and seconds and seconds > 0 else None
