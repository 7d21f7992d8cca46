"""Which samples a benchmark consists of, decided before the first call."""

from collections.abc import Iterator

import msgspec

from db.domain.specs import BenchmarkSpec, Target

# studio: a tier must leave room for the answer and this many tokens of prompt
PROMPT_RESERVE = 100


class PlannedSample(msgspec.Struct, frozen=True, kw_only=True):
    """One call to be measured; `key` is its place in the plan and names it within the run."""

    key: int
    target: int
    tier: int
    run: int  # 1-based


class SkippedTier(msgspec.Struct, frozen=True, kw_only=True):
    target: int
    tier: int
    reason: str


class Plan(msgspec.Struct, frozen=True):
    samples: tuple[PlannedSample, ...]
    skipped: tuple[SkippedTier, ...]


def make_plan(spec: BenchmarkSpec) -> Plan:
    """Order samples as studio documents it: tier outside, model inside, then its runs."""
    cells = [
        (index, tier, _why_skipped(target, tier, spec.max_tokens))
        for tier in spec.context_tiers
        for index, target in enumerate(spec.targets)
    ]
    kept = (
        (index, tier, run)
        for index, tier, reason in cells
        if not reason
        for run in range(1, spec.runs + 1)
    )
    samples = tuple(
        PlannedSample(key=key, target=index, tier=tier, run=run)
        for key, (index, tier, run) in enumerate(kept)
    )
    skipped = tuple(
        SkippedTier(target=index, tier=tier, reason=reason)
        for index, tier, reason in cells
        if reason
    )
    return Plan(samples, skipped)


def lanes(
    spec: BenchmarkSpec, samples: tuple[PlannedSample, ...]
) -> Iterator[tuple[PlannedSample, ...]]:
    """Group samples by provider: providers run in parallel, each lane in order."""
    by_provider: dict[str, list[PlannedSample]] = {}
    for sample in samples:
        by_provider.setdefault(spec.targets[sample.target].provider, []).append(sample)
    return (tuple(lane) for lane in by_provider.values())


def _why_skipped(target: Target, tier: int, max_tokens: int) -> str:
    if tier == 0 or tier <= target.context_window - max_tokens - PROMPT_RESERVE:
        return ""
    return f"{_thousands(tier)} exceeds {_thousands(target.context_window)} context window"


def _thousands(tokens: int) -> str:
    return f"{tokens // 1000}K" if tokens >= 1000 else str(tokens)
