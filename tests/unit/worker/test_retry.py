"""Which failures deserve another try, after how long, and what Retry-After may say."""

import random
import time
from email.utils import formatdate

import pytest
from hypothesis import given, strategies as st

from db.domain import errors
from worker.call import RETRY_AFTER_CAP_S, _retry_after
from worker.reply import Reply
from worker.retry import LONGEST_DELAY_S, delay_s, deserves_retry

RETRIED = {408, 409, 425, 429, 500, 502, 503, 504, 529}


def reply(status=None, error=None, retry_after=None):
    made = Reply()
    made.status, made.error, made.retry_after_s = status, error, retry_after
    return made


@pytest.mark.parametrize("status", [s for s in range(100, 600) if s != 200])
def test_exactly_the_transient_statuses_are_retried(status):
    assert deserves_retry(reply(status, errors.ProviderRefused())) == (status in RETRIED)


@pytest.mark.parametrize(
    ("error", "retried"),
    [
        (errors.ProviderUnreachable, True),
        (errors.ProviderBadResponse, True),
        (errors.ProviderTimeout, False),
        (errors.ProviderRefused, False),
        (errors.ProviderAnswerTooLarge, False),
        (errors.EgressDenied, False),
    ],
)
@pytest.mark.parametrize("status", [None, 200])
def test_an_answer_that_fails_without_a_status_is_retried_by_its_kind(status, error, retried):
    assert deserves_retry(reply(status, error())) == retried


def test_success_is_not_retried():
    assert not deserves_retry(reply(200))


@given(st.integers(1, 40), st.integers())
def test_jitter_is_full_and_bounded(attempt, seed):
    assert (
        0
        <= delay_s(attempt, reply(500), random.Random(seed))
        <= min(LONGEST_DELAY_S, 0.5 * 2 ** (attempt - 1))
    )


def test_jitter_reaches_the_whole_range():
    source = random.Random(1)
    found = [delay_s(2, reply(500), source) for _ in range(1000)]
    assert min(found) < 0.02
    assert max(found) > 0.98
    assert 0.45 < sum(found) / 1000 < 0.55


@given(st.integers(1, 20), st.floats(0, 120))
def test_no_try_comes_before_the_provider_allows_it(attempt, asked):
    found = delay_s(attempt, reply(429, retry_after=asked), random.Random(1))
    assert asked <= found <= asked + LONGEST_DELAY_S


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("", None),
        ("2", 2.0),
        ("0.25", 0.25),
        ("-1", 0.0),
        ("86400", RETRY_AFTER_CAP_S),
        ("inf", RETRY_AFTER_CAP_S),
        ("nan", None),
        ("soon", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", RETRY_AFTER_CAP_S),
    ],
)
def test_retry_after_is_read_or_ignored(value, expected):
    assert _retry_after(value) == expected


def test_retry_after_may_be_a_date():
    assert 8 < _retry_after(formatdate(time.time() + 10, usegmt=True)) <= 10


@given(st.one_of(st.text(), st.from_regex(r"[A-Z][a-z]{2}, \d+ [A-Z][a-z]{2} \d+ \d+:\d+:\d+ .*")))
def test_no_retry_after_breaks_the_reader(value):
    found = _retry_after(value)
    assert found is None or 0 <= found <= RETRY_AFTER_CAP_S
