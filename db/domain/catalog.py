"""Which providers exist, how they are spoken to, and which models are known by name."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from db.domain.errors import UnknownModel
from db.domain.specs import Target


class Model(NamedTuple):
    """A model as studio's users name it; prices in USD per million tokens."""

    model_id: str
    display_name: str
    context_window: int = 128_000
    input_usd: float | None = None
    output_usd: float | None = None
    skip_params: tuple[str, ...] = ()


class Provider(NamedTuple):
    """`any_model`: names not listed below are passed on as they are."""

    key: str
    display_name: str
    wire: str
    base_url: str | None  # None: the simulator, wherever it runs
    prefix: str
    models: tuple[Model, ...]
    any_model: bool = False


SIM_MODELS: Final = tuple(
    Model(f"sim/{name}", f"Sim {name}", 32_000, 1.0, 4.0)
    for name in (
        "fast", "slow", "echo", "flaky-20", "rate-limited", "half-open", "garbage", "never-ends",
        "ttft-200-itl-10-n-64",
    )
)  # fmt: skip

PROVIDERS: Final[Mapping[str, Provider]] = {
    provider.key: provider
    for provider in (
        Provider("sim", "Simulator", "openai", None, "sim/", SIM_MODELS, any_model=True),
        Provider(
            "sim_anthropic", "Simulator (Anthropic)", "anthropic", None, "sim_anthropic/", (),
            any_model=True,
        ),
        Provider(
            "sim_gemini", "Simulator (Gemini)", "gemini", None, "sim_gemini/", (), any_model=True
        ),
        Provider(
            "openai", "OpenAI", "openai", "https://api.openai.com/v1", "",
            (
                Model("gpt-4o", "GPT-4o", 128_000, 2.5, 10.0),
                Model("gpt-4o-mini", "GPT-4o Mini", 128_000, 0.15, 0.6),
            ),
        ),
        Provider(
            "anthropic", "Anthropic", "anthropic", "https://api.anthropic.com/v1", "anthropic/",
            (
                Model(
                    "anthropic/claude-sonnet-4-5", "Claude Sonnet 4.5", 200_000, 3.0, 15.0,
                    ("temperature",),
                ),
            ),
        ),
        Provider(
            "google_gemini", "Google Gemini", "gemini",
            "https://generativelanguage.googleapis.com/v1beta", "gemini/",
            (Model("gemini/gemini-2.5-flash", "Gemini 2.5 Flash", 1_048_576, 0.3, 2.5),),
        ),
    )
}  # fmt: skip


def find_target(model_id: str) -> Target:
    """Resolve a model id as users write it; raise UnknownModel that names it."""
    for provider in PROVIDERS.values():
        for model in provider.models:
            if model.model_id == model_id:
                return _target(provider, model)
        if provider.any_model and _names_a_model(model_id, provider.prefix):
            name = model_id.removeprefix(provider.prefix)
            return _target(provider, Model(model_id, f"Sim {name}", 32_000, 1.0, 4.0))
    raise UnknownModel(f"Unknown model: {model_id[:200]!r}. Known ones: {_known()}.")


def _names_a_model(model_id: str, prefix: str) -> bool:
    name = model_id.removeprefix(prefix)
    return (
        model_id.startswith(prefix)
        and 0 < len(name) <= 100
        and name.isascii()
        and name.isprintable()  # Postgres stores no NUL
        and not name.isspace()
    )


def _target(provider: Provider, model: Model) -> Target:
    return Target(
        provider=provider.key,
        provider_name=provider.display_name,
        wire=provider.wire,
        model_id=model.model_id,
        model=model.model_id.removeprefix(provider.prefix),
        display_name=model.display_name,
        context_window=model.context_window,
        skip_params=model.skip_params,
        input_usd_per_mtok=model.input_usd,
        output_usd_per_mtok=model.output_usd,
    )


def _known() -> str:
    return ", ".join(model.model_id for provider in PROVIDERS.values() for model in provider.models)
