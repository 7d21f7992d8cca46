"""Lifecycle, plan, catalog, events and errors: pure tables and orders."""

import json
import string

import pytest
from hypothesis import given, strategies as st

from db.domain import errors
from db.domain.catalog import PROVIDERS, find_target
from db.domain.errors import UnknownModel
from db.domain.events import TERMINAL as LAST_EVENTS, join_rows, make_event
from db.domain.lifecycle import TERMINAL, TRANSITIONS, may_follow
from db.domain.plan import lanes, make_plan
from db.domain.specs import BenchmarkSpec

LEGAL = {
    ("queued", "running"),
    ("queued", "cancelled"),
    ("queued", "failed"),
    ("running", "queued"),
    ("running", "completed"),
    ("running", "failed"),
    ("running", "cancelled"),
}


def spec(*models, **more):
    return BenchmarkSpec(targets=tuple(find_target(model) for model in models), **more)


@pytest.mark.parametrize("before", TRANSITIONS)
@pytest.mark.parametrize("after", TRANSITIONS)
def test_the_lifecycle_allows_exactly_what_is_written_here(before, after):
    assert may_follow(before, after) == ((before, after) in LEGAL)


def test_terminal_states_are_those_without_a_way_out():
    assert {"completed", "failed", "cancelled"} == TERMINAL


def test_samples_are_planned_tier_outside_model_inside_then_runs():
    plan = make_plan(spec("sim/fast", "gpt-4o", runs=2, context_tiers=(0, 1000)))
    assert [(s.key, s.tier, s.target, s.run) for s in plan.samples] == [
        (0, 0, 0, 1),
        (1, 0, 0, 2),
        (2, 0, 1, 1),
        (3, 0, 1, 2),
        (4, 1000, 0, 1),
        (5, 1000, 0, 2),
        (6, 1000, 1, 1),
        (7, 1000, 1, 2),
    ]


@pytest.mark.parametrize(("tier", "skipped"), [(0, 0), (31_388, 0), (31_389, 1), (10**6, 1)])
def test_a_tier_is_skipped_when_it_exceeds_window_less_answer_less_100(tier, skipped):
    plan = make_plan(spec("sim/fast", max_tokens=512, context_tiers=(tier,)))
    assert len(plan.skipped) == skipped
    assert bool(plan.samples) is not bool(skipped)


def test_tier_zero_is_never_skipped_however_long_the_answer():
    assert not make_plan(spec("sim/fast", max_tokens=10**6)).skipped


def test_a_skipped_tier_says_why_in_studios_words():
    (skipped,) = make_plan(spec("sim/fast", context_tiers=(100_000,))).skipped
    assert skipped.reason == "100K exceeds 32K context window"


def test_keys_leave_no_gap_where_tiers_are_skipped():
    plan = make_plan(spec("sim/fast", "gpt-4o", runs=1, context_tiers=(0, 100_000)))
    assert [sample.key for sample in plan.samples] == [0, 1, 2]
    assert [(s.tier, s.target) for s in plan.samples] == [(0, 0), (0, 1), (100_000, 1)]


def test_a_lane_is_one_providers_samples_in_plan_order():
    asked = spec("sim/fast", "gpt-4o", "sim/slow", runs=1, context_tiers=(0, 1000))
    found = [[s.key for s in lane] for lane in lanes(asked, make_plan(asked).samples)]
    assert found == [[0, 2, 3, 5], [1, 4]]


def test_every_model_of_the_catalog_resolves_to_itself():
    for provider in PROVIDERS.values():
        for model in provider.models:
            target = find_target(model.model_id)
            assert (target.model_id, target.provider) == (model.model_id, provider.key)
            assert provider.prefix + target.model == model.model_id


@pytest.mark.parametrize(
    ("model_id", "provider", "model"),
    [
        ("sim/ttft-5-n-8", "sim", "ttft-5-n-8"),
        ("sim_anthropic/fast", "sim_anthropic", "fast"),
        ("sim_gemini/fast", "sim_gemini", "fast"),
        ("sim/a/b", "sim", "a/b"),
    ],
)
def test_any_simulated_model_is_known(model_id, provider, model):
    target = find_target(model_id)
    assert (target.provider, target.model, target.model_id) == (provider, model, model_id)


@pytest.mark.parametrize(
    "model_id",
    [
        "",
        "sim/",
        "sim/ ",
        "sim",
        "SIM/fast",
        "sim/é",
        "sim/" + "x" * 101,
        "gpt-5000",
        "anthropic/nope",
        "sim/a\0b",
        "sim/a\nb",
        "\ud800",
    ],
)
def test_an_unknown_model_is_named_and_the_known_ones_listed(model_id):
    with pytest.raises(UnknownModel) as caught:
        find_target(model_id)
    assert repr(model_id[:200]) in str(caught.value)
    assert "sim/fast" in str(caught.value)


@given(st.text(max_size=30))
def test_a_found_target_can_always_be_stored_as_json(name):
    try:
        target = find_target("sim/" + name)
    except UnknownModel:
        return
    assert "\0" not in target.model
    assert set(target.model) <= set(string.printable)


def test_an_event_row_keeps_its_data_byte_for_byte():
    event = make_event("result", text='ü"\\\n', n=1.5, none=None)
    assert event.data in event.row()
    assert json.loads(event.row()) == {
        "type": "result",
        "data": {"text": 'ü"\\\n', "n": 1.5, "none": None},
    }


def test_rows_join_to_one_array():
    rows = [make_event("a", n=n).row() for n in range(3)]
    assert [row["data"]["n"] for row in json.loads(join_rows(rows))] == [0, 1, 2]
    assert join_rows([]) == b"[]"


def test_an_event_may_carry_a_field_named_kind():
    assert json.loads(make_event("status", kind="benchmark").data) == {"kind": "benchmark"}


def test_the_last_events_are_one_per_terminal_state():
    assert {"complete", "cancelled", "error"} == LAST_EVENTS


def test_an_error_without_words_says_its_docstring():
    assert str(errors.RunNotFound()) == "Run not found"
    assert str(errors.Invalid("mine")) == "mine"
    assert errors.TooMany(retry_after_s=7).retry_after_s == 7
