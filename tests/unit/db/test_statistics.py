"""Percentiles, intervals and aggregates against values worked out by hand and exact sums."""

from fractions import Fraction
from math import comb

import pytest
from hypothesis import given, strategies as st

from db.domain.statistics import aggregate, median_interval, percentile

numbers = st.floats(-1e12, 1e12)
samples = st.lists(numbers, min_size=1, max_size=60).map(sorted)
shares = st.floats(0, 1)


@pytest.mark.parametrize(
    ("values", "q", "expected"),
    [
        ([7.0], 0.95, 7.0),
        ([1, 2], 0.5, 1.5),
        ([1, 2, 3, 4], 0.5, 2.5),
        ([1, 2, 3, 4], 0.25, 1.75),
        ([1, 2, 3, 4, 5], 0.95, 4.8),
        ([15, 20, 35, 40, 50], 0.4, 29.0),
        ([1, 2, 3], 0.0, 1),
        ([1, 2, 3], 1.0, 3),
    ],
)
def test_percentiles_by_hand(values, q, expected):
    assert percentile(values, q) == pytest.approx(expected)


@given(samples, shares)
def test_a_percentile_lies_between_least_and_greatest(values, q):
    assert values[0] <= percentile(values, q) <= values[-1]


@given(samples, shares, shares)
def test_percentiles_grow_with_q(values, one, other):
    low, high = sorted((one, other))
    assert percentile(values, low) <= percentile(values, high)


@given(numbers, st.integers(1, 20), shares)
def test_percentiles_of_equal_values_are_that_value(value, n, q):
    assert percentile([value] * n, q) == value


def coverage(n, rank):
    """How likely the median of any continuous distribution lies inside, exactly."""
    return 1 - 2 * sum(Fraction(comb(n, k), 2**n) for k in range(rank))


@pytest.mark.parametrize("n", [*range(6, 120), 500, 998, 999, 1000, 1001, 1500, 2000])
def test_the_median_interval_covers_95_percent_and_the_next_narrower_does_not(n):
    low, high = median_interval(range(1, n + 1))
    assert low + high == n + 1
    assert coverage(n, low) >= 0.95
    if n < 1000:
        assert coverage(n, low + 1) < 0.95


@pytest.mark.parametrize("n", range(1, 6))
def test_fewer_than_six_values_bound_no_median(n):
    assert median_interval(list(range(n))) is None


@pytest.mark.parametrize(("n", "expected"), [(6, (1, 6)), (10, (2, 9)), (20, (6, 15))])
def test_the_median_interval_is_that_of_the_tables(n, expected):
    assert median_interval(range(1, n + 1)) == expected


def test_nothing_has_no_aggregate():
    assert aggregate([]) is None


def test_an_aggregate_by_hand():
    found = aggregate([4.0, 1.0, 3.0, 2.0, 100.0, 5.0])
    assert (found.n, found.min, found.max, found.p50) == (6, 1.0, 100.0, 3.5)
    assert found.mean == pytest.approx(115 / 6)
    assert found.stdev == pytest.approx(39.6253, abs=1e-4)
    assert found.p95 == pytest.approx(76.25)
    assert (found.low, found.high, found.outliers) == (1.0, 100.0, 1)


def test_few_values_have_no_spread_interval_or_outliers():
    one = aggregate([5.0])
    assert (one.n, one.stdev, one.low, one.high, one.outliers, one.p95) == (1, *(None,) * 4, 5.0)
    assert aggregate([1.0, 2.0, 30.0]).p95 == 30.0


@given(samples)
def test_an_aggregate_is_ordered(values):
    found = aggregate(values)
    assert found.min <= found.p50 <= found.p95 <= found.max
    if found.low is not None:
        assert found.min <= found.low <= found.p50 <= found.high <= found.max
