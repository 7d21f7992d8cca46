"""Context has the length asked for and is never the same twice."""

import random

import pytest
from hypothesis import given, settings, strategies as st

from worker.filler import count_tokens, fill, tokenizer


@pytest.mark.parametrize("tokens", [1, 50, 1000, 20_000])
def test_a_fill_counts_as_asked_within_one(tokens):
    assert abs(count_tokens(fill(tokens, random.Random(7))) - tokens) <= 1


@given(st.integers(1, 3000), st.integers())
@settings(max_examples=40, deadline=None)
def test_any_length_from_any_seed_counts_within_one(tokens, seed):
    assert abs(count_tokens(fill(tokens, random.Random(seed))) - tokens) <= 1


def test_no_two_fills_share_a_prefix_of_50_tokens():
    starts = {tuple(tokenizer().encode(fill(60, random.Random()))[:50]) for _ in range(200)}
    assert len(starts) == 200


def test_fills_share_no_run_of_50_tokens_anywhere():
    seen = set()
    for _ in range(20):
        tokens = tokenizer().encode(fill(500, random.Random()))
        runs = {tuple(tokens[at : at + 50]) for at in range(len(tokens) - 49)}
        assert not runs & seen
        seen |= runs


def test_one_seed_gives_one_text():
    assert fill(100, random.Random(3)) == fill(100, random.Random(3))


def test_the_tokenizer_is_cl100k():
    assert tokenizer().encode("hello world") == [15339, 1917]
