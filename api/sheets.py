"""Order sheets that several dialects share: what a client may ask for, and within which bounds."""

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from db.domain.catalog import find_target
from db.domain.errors import Invalid
from db.domain.plan import make_plan
from db.domain.specs import BenchmarkSpec, Target

Visibility = Literal["private", "unlisted", "public"]
Tier = Annotated[int, Meta(ge=0, le=2_000_000)]
LONGEST_PROMPT: Final = 1_000_000
MOST_SAMPLES: Final = 100_000
# what would change where a call goes, who pays for it, or how it is measured
REFUSED: Final = frozenset(
    [
        "api_base",
        "base_url",
        "api_key",
        "headers",
        "extra_headers",
        "proxy",
        "organization",
        "stream",
        "n",
        "user",
        "messages",
        "model",
        "contents",
    ]
)


class TargetSheet(msgspec.Struct, frozen=True, kw_only=True):
    provider_key: str
    model_id: str


class BenchmarkSheet(msgspec.Struct, frozen=True, kw_only=True):
    """A speed benchmark as studio's clients ask for it."""

    models: Annotated[tuple[str, ...], Meta(max_length=100)] = ()
    targets: Annotated[tuple[TargetSheet, ...], Meta(max_length=100)] = ()
    runs: Annotated[int, Meta(ge=1, le=100)] = 3
    max_tokens: Annotated[int, Meta(ge=1, le=131_072)] = 512
    temperature: Annotated[float, Meta(ge=0, le=2)] = 0.7
    prompt: Annotated[str, Meta(max_length=LONGEST_PROMPT)] = ""
    context_tiers: Annotated[tuple[Tier, ...], Meta(min_length=1, max_length=20)] = (0,)
    warmup: bool = True
    concurrency: Annotated[int, Meta(ge=1, le=1024)] = 1
    provider_params: dict[str, Any] | None = None
    visibility: Visibility | None = None

    def spec(self) -> BenchmarkSpec:
        """Resolve models and check bounds that span fields; raise Invalid or UnknownModel."""
        spec = BenchmarkSpec(
            targets=self._targets(),
            runs=self.runs,
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            prompt=self.prompt,
            context_tiers=tuple(dict.fromkeys(self.context_tiers)),
            warmup=self.warmup,
            concurrency=self.concurrency,
            params=_params(self.provider_params or {}),
        )
        if len(spec.targets) * len(spec.context_tiers) * spec.runs > MOST_SAMPLES:
            raise Invalid(f"models x context_tiers x runs exceeds {MOST_SAMPLES} samples")
        return spec

    def _targets(self) -> tuple[Target, ...]:
        found = [_target(sheet) for sheet in self.targets] or map(find_target, self.models)
        unique = tuple({(target.provider, target.model_id): target for target in found}.values())
        if not unique:
            raise Invalid("models: at least one model is required")
        return unique


def planned(spec: BenchmarkSpec) -> int:
    """Count the samples a spec will have."""
    return len(make_plan(spec).samples)


def _target(sheet: TargetSheet) -> Target:
    target = find_target(sheet.model_id)
    if target.provider != sheet.provider_key:
        raise Invalid(f"targets: {sheet.provider_key[:100]} does not serve {target.model_id}")
    return target


def _params(given: dict[str, Any]) -> dict[str, Any]:
    """Merge `passthrough` into the rest; raise Invalid that names each refused key."""
    try:
        through = msgspec.convert(given.get("passthrough") or {}, dict[str, Any])
    except msgspec.ValidationError:
        raise Invalid("provider_params.passthrough: must be an object") from None
    merged: dict[str, Any] = {
        name: value for name, value in given.items() if name != "passthrough"
    } | through
    if refused := sorted(REFUSED & merged.keys()):
        raise Invalid(f"provider_params: these keys are refused: {', '.join(refused)}")
    return merged
