"""From a reply to the sample that is stored."""

import msgspec
import pytest

from db.domain import errors
from db.domain.catalog import find_target
from db.domain.plan import PlannedSample
from worker.providers.wire import Finish, Identity, Reasoning, Text, ToolCall, Usage
from worker.reply import Reply, Tokens
from worker.runs.job import Answer
from worker.runs.measure import count, describe, measure_sample, price

PLANNED = PlannedSample(key=4, target=0, tier=1000, run=2)
SIM = find_target("sim/fast")


def reply(*deltas, error=None):
    made = Reply()
    made.sent = 1.0
    for place, delta in enumerate(deltas):
        made.take([delta], 2.0 + place)
    made.ended = 10.0
    made.error = error
    return made


def sample(*deltas, error=None, attempts=(1,)):
    return measure_sample(PLANNED, SIM, Answer(reply(*deltas, error=error), list(attempts)))


def test_usage_is_believed_where_it_is_told():
    made = reply(Text("a b c d"), Usage(7, 3))
    assert count(made) == Tokens(7, 3, "usage")


def test_half_a_usage_is_mixed():
    assert count(reply(Text("hello world"), Usage(None, 3))) == Tokens(None, 3, "mixed")
    assert count(reply(Text("hello world"), Usage(7, None))) == Tokens(7, 2, "mixed")


def test_silence_is_counted_thoughts_included():
    assert count(reply(Reasoning("hello"), Text(" world"))) == Tokens(None, 2, "tokenizer")


def test_later_usage_wins_and_silence_keeps_the_earlier():
    made = reply(Usage(5, 1, None, None), Usage(None, 9, 2, None), Usage(None, None, None, 3))
    assert made.usage == Usage(5, 9, 2, 3)


def test_empty_text_is_no_arrival():
    made = reply(Text(""), Reasoning(""), Text("x"))
    assert made.arrivals == [4.0]
    assert made.first_answer == 4.0


def test_thoughts_are_content_but_not_yet_the_answer():
    made = reply(Reasoning("hm"), ToolCall(0, "i", "f", "{}"), Text("x"))
    assert made.arrivals == [2.0, 3.0, 4.0]
    assert made.first_answer == 3.0


def test_what_a_provider_says_of_its_answer_can_be_stored():
    made = reply(Identity("a\0b" + "x" * 999), Identity("later"), Finish("st\0op"))
    assert (made.response_id[:3], len(made.response_id)) == ("abx", 200)
    assert made.finish_reason == "stop"


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        (Tokens(1_000_000, 1_000_000, "usage"), 5.0),
        (Tokens(0, 0, "usage"), 0.0),
        (Tokens(None, 5, "usage"), None),
        (Tokens(5, None, "usage"), None),
        (Tokens(3, 2, "usage"), 11e-6),
    ],
)
def test_a_price_needs_both_counts(tokens, expected):
    assert price(SIM, tokens) == pytest.approx(expected)


def test_a_price_needs_both_rates():
    unknown = msgspec.structs.replace(SIM, output_usd_per_mtok=None)
    assert price(unknown, Tokens(1, 1, "usage")) is None
    free = msgspec.structs.replace(SIM, input_usd_per_mtok=0.0, output_usd_per_mtok=0.0)
    assert price(free, Tokens(1, 1, "usage")) == 0.0


def test_a_sample_carries_its_plan_and_its_measures():
    made = sample(Text("a"), Text("b"), Usage(10, 3, 4, 1), attempts=(1, 2))
    assert (made.key, made.context_tokens, made.ordinal, made.attempts) == (4, 1000, 2, 2)
    assert (made.ok, made.error_code, made.tokens_from) == (True, None, "usage")
    assert (made.ttft_ms, made.total_ms, made.tpot_ms) == (1000.0, 9000.0, 500.0)
    assert (made.cached_tokens, made.reasoning_tokens) == (4, 1)
    assert made.tps == pytest.approx(3 / 9)
    assert made.itl_ms == (1000.0,)


def test_a_failed_sample_claims_no_tokens_cost_or_throughput():
    made = sample(Text("a"), Text("b"), Usage(10, 3), error=errors.ProviderTimeout("late"))
    assert (made.ok, made.error_code, made.error) == (False, "PROVIDER_TIMEOUT", "late")
    claims = (made.tps, made.cost_usd, made.output_tokens, made.itl_ms, made.tokens_from)
    assert claims == (None,) * 5
    assert made.ttft_ms == 1000.0


def test_an_error_is_kept_short_and_storable():
    assert describe(errors.Invalid("a\0" + "b" * 999)) == "a" + "b" * 499
