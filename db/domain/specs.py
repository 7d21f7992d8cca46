"""What a run was asked to do: one frozen struct per kind."""

from collections.abc import Mapping
from typing import Any, Final, get_args

import msgspec


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """One model at one provider, with what was known of it when the run was submitted."""

    provider: str
    provider_name: str
    wire: str
    model_id: str  # as users write it, with the provider's prefix
    model: str  # as the provider knows it
    display_name: str
    context_window: int = 128_000
    skip_params: tuple[str, ...] = ()
    input_usd_per_mtok: float | None = None
    output_usd_per_mtok: float | None = None


class BenchmarkSpec(msgspec.Struct, frozen=True, kw_only=True, tag="benchmark", tag_field="kind"):
    """Speed of models: targets x context tiers x runs."""

    targets: tuple[Target, ...]
    runs: int = 3
    max_tokens: int = 512
    temperature: float | None = 0.7
    prompt: str = ""
    context_tiers: tuple[int, ...] = (0,)
    warmup: bool = True
    concurrency: int = 1
    params: Mapping[str, Any] = {}


Spec = BenchmarkSpec  # becomes a union of tagged structs with the second kind

KINDS: Final = tuple(str(kind.__struct_config__.tag) for kind in (get_args(Spec) or (Spec,)))
