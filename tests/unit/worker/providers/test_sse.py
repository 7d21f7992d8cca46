"""The event reader returns the same events however the bytes are cut."""

import itertools
import time

import pytest
from hypothesis import given, strategies as st

from worker.providers.sse import EventReader
from worker.providers.wire import BadResponse

CASES = {
    "lf": (b"data: a\n\ndata: b\n\n", [b"a", b"b"]),
    "crlf": (b"data: a\r\n\r\ndata: b\r\n\r\n", [b"a", b"b"]),
    "cr": (b"data: a\r\rdata: b\r\r", [b"a", b"b"]),
    "mixed line ends": (b"data: a\r\n\ndata: b\n\r\ndata: c\r\r\n", [b"a", b"b", b"c"]),
    "bom": (b"\xef\xbb\xbfdata: a\n\n", [b"a"]),
    "bom only at the start": (b"data: a\n\n\xef\xbb\xbfdata: b\n\n", [b"a"]),
    "comments": (b": hello\n\ndata: a\n: inside\n\n:\n\n", [b"a"]),
    "several lines": (b"data: a\ndata: b\ndata:c\n\n", [b"a\nb\nc"]),
    "one space is taken": (b"data:  a\n\ndata:b\n\n", [b" a", b"b"]),
    "other fields": (b"event: x\nid: 1\nretry: 5\ndata: a\nodd\n\n", [b"a"]),
    "no data, no event": (b"event: x\n\nid: 1\n\n", []),
    "empty data": (b"data:\n\n", [b""]),
    "no last blank line": (b"data: a\n\ndata: b", [b"a", b"b"]),
    "last line ended, not blank": (b"data: a\n", [b"a"]),
    "utf-8": ("data: é漢🙂\n\n".encode(), ["é漢🙂".encode()]),
    "empty": (b"", []),
    "half a bom": (b"\xef\xbb", []),
}


def events_of(chunks, cap=1000):
    reader = EventReader(cap)
    events = [event for chunk in chunks for event in reader.feed(chunk)]
    return events + list(reader.close())


@pytest.mark.parametrize("name", CASES)
def test_every_single_cut_and_one_byte_at_a_time(name):
    data, expected = CASES[name]
    for cut in range(len(data) + 1):
        assert events_of([data[:cut], data[cut:]]) == expected, cut
    assert events_of([data[at : at + 1] for at in range(len(data))]) == expected


LINES = st.sampled_from(
    [b"data: x", b"data:", b"data: \xc3\xa9", b": c", b"", b"", b"id: 1", b"\xef\xbb\xbf"]
)
ENDS = st.sampled_from([b"\n", b"\r", b"\r\n"])


@given(st.lists(st.tuples(LINES, ENDS), max_size=12), st.lists(st.integers(0, 120), max_size=8))
def test_random_streams_cut_at_random(lines, cuts):
    data = b"".join(line + end for line, end in lines)
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    pieces = [data[start:end] for start, end in itertools.pairwise(edges)]
    assert (
        events_of(pieces)
        == events_of([data])
        == events_of([data[i : i + 1] for i in range(len(data))])
    )


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_an_event_above_the_cap_is_refused_however_cut(size):
    for data in (
        b"data: " + b"x" * 100 + b"\n\n",
        b"data: xxxxx\n" * 10 + b"\n",
        b":" + b"x" * 100,
    ):
        chunks = [data[at : at + size] for at in range(0, len(data), size)]
        with pytest.raises(BadResponse, match="larger than 100"):
            events_of(chunks, cap=100)
        assert len(events_of(chunks, cap=120)) == (not data.startswith(b":"))


def test_comments_for_ever_are_no_event_and_cost_no_memory():
    reader = EventReader(cap=100)
    for _ in range(10_000):
        assert list(reader.feed(b": keep-alive\n\n")) == []


def test_a_long_line_in_small_pieces_takes_linear_time():
    reader = EventReader(cap=20_000_000)
    started = time.perf_counter()
    for _ in range(80_000):
        assert list(reader.feed(b"x" * 100)) == []
    assert time.perf_counter() - started < 2.0


def test_an_endless_line_is_refused_before_it_ends():
    reader = EventReader(cap=100)
    assert [event for _ in range(100) for event in reader.feed(b"x")] == []
    with pytest.raises(BadResponse):
        list(reader.feed(b"x"))
