"""Order sheets: bounds, doubles, and what may not be passed through."""

import msgspec
import pytest
from hypothesis import given, strategies as st

from api.sheets import MOST_SAMPLES, BenchmarkSheet, TargetSheet, planned
from db.domain.errors import Invalid, UnknownModel

REFUSED = [
    "api_base", "api_key", "base_url", "contents", "extra_headers", "headers", "messages", "model",
    "n", "organization", "proxy", "stream", "user",
]  # fmt: skip
BOUNDS = {
    "runs": (1, 100),
    "max_tokens": (1, 131_072),
    "temperature": (0, 2),
    "concurrency": (1, 1024),
}


def read(**fields):
    return msgspec.convert({"models": ["sim/fast"]} | fields, BenchmarkSheet)


@pytest.mark.parametrize("name", BOUNDS)
def test_both_ends_of_a_range_are_taken_and_what_lies_beyond_is_not(name):
    low, high = BOUNDS[name]
    for value in (low, high):
        assert getattr(read(**{name: value}).spec(), name) == value
    for value in (low - 1, high + 1, -1, 10**30):
        with pytest.raises(msgspec.ValidationError):
            read(**{name: value})


def test_the_documented_defaults_hold():
    spec = read().spec()
    assert (spec.runs, spec.max_tokens, spec.temperature) == (3, 512, 0.7)
    assert (spec.prompt, spec.context_tiers, spec.warmup) == ("", (0,), True)


@pytest.mark.parametrize("tiers", [[], [-1], [2_000_001], [0] * 21, [0.5], ["0"]])
def test_tiers_outside_their_range_are_refused(tiers):
    with pytest.raises(msgspec.ValidationError):
        read(context_tiers=tiers)


@given(st.lists(st.sampled_from([0, 1000, 5000]), min_size=1, max_size=20))
def test_a_tier_counts_once_however_often_it_is_named(tiers):
    spec = read(context_tiers=tiers).spec()
    assert spec.context_tiers == tuple(dict.fromkeys(tiers))
    assert planned(spec) == 3 * len(set(tiers))


def test_a_model_counts_once_however_it_is_named():
    both = TargetSheet(provider_key="sim", model_id="sim/fast")
    assert len(BenchmarkSheet(targets=(both, both)).spec().targets) == 1
    assert len(BenchmarkSheet(models=("sim/fast", "sim/slow", "sim/fast")).spec().targets) == 2


def test_targets_win_over_models():
    target = TargetSheet(provider_key="sim", model_id="sim/slow")
    spec = BenchmarkSheet(models=("sim/fast",), targets=(target,)).spec()
    assert [one.model_id for one in spec.targets] == ["sim/slow"]


def test_no_model_an_unknown_one_and_a_foreign_one_are_named():
    with pytest.raises(Invalid, match="at least one model"):
        BenchmarkSheet().spec()
    with pytest.raises(UnknownModel, match="gpt-imaginary"):
        BenchmarkSheet(models=("gpt-imaginary",)).spec()
    with pytest.raises(Invalid, match="openai does not serve sim/fast"):
        BenchmarkSheet(targets=(TargetSheet(provider_key="openai", model_id="sim/fast"),)).spec()


@given(st.sets(st.sampled_from(REFUSED), min_size=1), st.booleans())
def test_every_refused_key_is_named_wherever_it_stands(keys, through):
    given_ = dict.fromkeys(keys, 1)
    params = {"passthrough": given_} if through else given_
    with pytest.raises(Invalid) as caught:
        read(provider_params=params | {"top_p": 0.5}).spec()
    assert str(caught.value).endswith(": " + ", ".join(sorted(keys)))


def test_passthrough_wins_over_what_stands_beside_it():
    params = {"top_p": 0.1, "seed": 1, "passthrough": {"top_p": 0.9}}
    assert read(provider_params=params).spec().params == {"top_p": 0.9, "seed": 1}


@pytest.mark.parametrize("through", [1, "x", [1], True])
def test_a_passthrough_that_is_no_object_is_refused(through):
    with pytest.raises(Invalid, match="passthrough: must be an object"):
        read(provider_params={"passthrough": through}).spec()


def test_the_number_of_samples_has_a_cap_that_is_reached_but_not_passed():
    models = tuple(f"sim/m{number}" for number in range(100))
    full = BenchmarkSheet(models=models, runs=100, context_tiers=tuple(range(10))).spec()
    assert len(full.targets) * len(full.context_tiers) * full.runs == MOST_SAMPLES
    with pytest.raises(Invalid, match=str(MOST_SAMPLES)):
        BenchmarkSheet(models=models, runs=100, context_tiers=tuple(range(11))).spec()
