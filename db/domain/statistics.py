"""Aggregates with their sample size: percentiles, spread, outliers, intervals."""

import math
from collections.abc import Sequence
from statistics import NormalDist, fmean, stdev

import msgspec


class Aggregate(msgspec.Struct, frozen=True, kw_only=True):
    """A sample's shape. `low`/`high` bound the median's 95 % order-statistic interval."""

    n: int
    mean: float
    stdev: float | None
    min: float
    max: float
    p50: float
    p95: float
    low: float | None
    high: float | None
    outliers: int | None


def percentile(ordered: Sequence[float], q: float) -> float:
    """Interpolate linearly between order statistics (Hyndman & Fan 1996, type 7).

    `ordered` is ascending and not empty, 0 <= q <= 1.
    """
    place = (len(ordered) - 1) * q
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    # this form never leaves [ordered[below], ordered[above]] and is exact for equal neighbours
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def median_interval(
    ordered: Sequence[float], confidence: float = 0.95
) -> tuple[float, float] | None:
    """Bound the median by order statistics, free of any distribution (David & Nagaraja 2003, 7.1).

    None when n is too small for the confidence (n < 6 at 95 %).
    """
    n = len(ordered)
    tail, mass = (1 - confidence) / 2, 0.5**n if n < 1000 else 0.0
    if n >= 1000:  # normal approximation of Binomial(n, 1/2); 0.5**n would underflow
        rank = math.floor(n / 2 + NormalDist().inv_cdf(tail) * math.sqrt(n) / 2)
    else:
        rank, cumulated = 0, mass
        while cumulated <= tail:
            rank += 1
            mass *= (n - rank + 1) / rank
            cumulated += mass
    return (ordered[rank - 1], ordered[n - rank]) if rank >= 1 else None


def aggregate(values: Sequence[float]) -> Aggregate | None:
    """Summarise; None when there is nothing. Outliers by Tukey's fences from n = 4 (Tukey 1977)."""
    if not values:
        return None
    ordered = sorted(values)
    n, interval = len(ordered), median_interval(ordered)
    return Aggregate(
        n=n,
        mean=fmean(ordered),
        stdev=stdev(ordered) if n > 1 else None,
        min=ordered[0],
        max=ordered[-1],
        p50=percentile(ordered, 0.5),
        p95=percentile(ordered, 0.95) if n >= 4 else ordered[-1],
        low=interval[0] if interval else None,
        high=interval[1] if interval else None,
        outliers=_outliers(ordered) if n >= 4 else None,
    )


def _outliers(ordered: Sequence[float]) -> int:
    first, third = percentile(ordered, 0.25), percentile(ordered, 0.75)
    reach = 1.5 * (third - first)
    return sum(value < first - reach or value > third + reach for value in ordered)
