"""TTFT, ITL, TPOT and throughput as defined, by hand and by property."""

import pytest
from hypothesis import given, strategies as st

from db.domain.timing import Stamps, measure

STAMPS = Stamps(
    sent=10.0, end=10.5, first_byte=10.08, first_answer=10.2, arrivals=(10.1, 10.2, 10.4)
)
gaps = st.lists(st.floats(1e-6, 10), min_size=1, max_size=50)


def test_one_call_by_hand():
    timing = measure(STAMPS, 5, 20)
    assert timing.ttft_ms == pytest.approx(100)
    assert timing.total_ms == pytest.approx(500)
    assert timing.first_byte_ms == pytest.approx(80)
    assert timing.first_answer_ms == pytest.approx(200)
    assert timing.tpot_ms == pytest.approx(75)
    assert timing.tps == pytest.approx(10)
    assert timing.input_tps == pytest.approx(200)
    assert timing.output_tps == pytest.approx(4 / 0.3)
    assert timing.itl_ms == (100.0, 200.0)


@pytest.mark.parametrize("tokens", [None, 0, 1])
def test_tpot_and_output_speed_need_two_tokens(tokens):
    timing = measure(STAMPS, tokens, 20)
    assert timing.tpot_ms is None
    assert timing.output_tps is None


def test_tpot_needs_two_arrivals():
    timing = measure(Stamps(sent=1, end=2, arrivals=(1.5,)), 9, None)
    assert (timing.tpot_ms, timing.output_tps, timing.itl_ms) == (None, None, ())


def test_an_answer_without_content_has_no_ttft():
    timing = measure(Stamps(sent=1, end=2), None, 5)
    assert (timing.ttft_ms, timing.tps, timing.input_tps) == (None, None, None)
    assert timing.total_ms == 1000


def test_no_time_gives_no_rate():
    timing = measure(Stamps(sent=1, end=1, arrivals=(1, 1)), 5, 5)
    assert (timing.tps, timing.input_tps, timing.output_tps) == (None, None, None)
    assert timing.tpot_ms == 0


@given(gaps, st.integers(2, 5000))
def test_the_last_token_comes_at_ttft_plus_n_minus_1_tpots(gaps, n):
    arrivals = [100.0]
    for gap in gaps:
        arrivals.append(arrivals[-1] + gap)
    timing = measure(Stamps(sent=99.0, end=arrivals[-1], arrivals=arrivals), n, 1)
    assert timing.ttft_ms + (n - 1) * timing.tpot_ms == pytest.approx(
        (arrivals[-1] - 99.0) * 1e3, rel=1e-9
    )
    assert timing.output_tps * timing.tpot_ms == pytest.approx(1e3)


@given(gaps)
def test_gaps_sum_to_the_flow(gaps):
    arrivals = [0.0]
    for gap in gaps:
        arrivals.append(arrivals[-1] + gap)
    timing = measure(Stamps(sent=0.0, end=arrivals[-1], arrivals=arrivals), None, None)
    assert len(timing.itl_ms) == len(gaps)
    assert sum(timing.itl_ms) == pytest.approx(arrivals[-1] * 1e3, abs=0.0006 * len(gaps))
