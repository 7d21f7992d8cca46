"""Frames on the wire: what a reader decodes is what was told, one frame per event."""

import json

from hypothesis import given, strategies as st

from api import frames
from api.frames import Frames
from db.bus import Told
from db.domain.events import encode

NASTY = [
    "\n",
    "\r",
    "\r\n",
    "\u2028",
    "\u2029",
    "\x85",
    "\x0b",
    "🦜",
    "data: x",
    ": ",
    "\n\nevent: completed\n",
]
TEXT = st.lists(st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(NASTY)).map(
    "".join
)
VALUES = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT
DATA = st.dictionaries(
    TEXT.filter(lambda key: key != "type"), VALUES | st.lists(VALUES, max_size=3), max_size=4
)
KINDS = st.sampled_from(["status", "progress", "result", "complete", "cancelled", "error"])
LOGS = st.lists(st.tuples(KINDS, DATA), min_size=1, max_size=6)


def tell(log, first=1):
    return tuple(Told(first + n, kind, encode(data)) for n, (kind, data) in enumerate(log))


def read(body):
    """Decode SSE as the HTML standard has it: CR, LF and CRLF end lines, nothing else does."""
    text = body.decode().replace("\r\n", "\n").replace("\r", "\n")
    assert text.endswith("\n\n")
    for block in text[:-2].split("\n\n"):
        fields = {}
        for line in block.split("\n"):
            name, _, value = line.partition(":")
            assert name in {"id", "event", "data"}
            assert name not in fields, "one line per field"
            fields[name] = value.removeprefix(" ")
        yield fields


@given(LOGS)
def test_studio_frames_carry_each_event_once_with_its_type_inside(log):
    told = tell(log)
    seen = list(read(Frames(told).encode(frames.studio)))
    assert [event.keys() for event in seen] == [{"id", "data"}] * len(log)
    assert [int(event["id"]) for event in seen] == [one.seq for one in told]
    assert [json.loads(event["data"]) for event in seen] == [
        {"type": kind} | data for kind, data in log
    ]


@given(LOGS)
def test_openbench_frames_carry_each_event_once_with_its_type_outside(log):
    told = tell(log)
    seen = list(read(Frames(told).encode(frames.openbench)))
    assert [list(event) for event in seen] == [["event", "data", "id"]] * len(log)
    assert [(event["event"], json.loads(event["data"])) for event in seen] == log
    assert [int(event["id"]) for event in seen] == [one.seq for one in told]


@given(DATA)
def test_an_event_without_an_id_moves_no_last_event_id(data):
    [seen] = read(frames.nameless("heartbeat", encode(data)))
    assert seen.keys() == {"event", "data"}
    assert json.loads(seen["data"]) == data


@given(LOGS, st.integers(1, 50), st.integers(0, 60))
def test_after_leaves_out_exactly_what_was_seen(log, first, seen):
    told = tell(log, first)
    rest = Frames(told).after(seen)
    left = [one for one in told if one.seq > seen]
    assert (list(rest.events) if rest else []) == left
    if left:
        assert (rest.first, rest.last) == (left[0].seq, told[-1].seq)


def test_frames_that_are_all_new_are_handed_on_as_they_are():
    batch = Frames(tell([("result", {}), ("result", {})], first=5))
    assert batch.after(4) is batch


def test_each_flavour_is_encoded_once_for_all_readers():
    calls = []

    def flavour(told):
        calls.append(told.seq)
        return b"x"

    batch = Frames(tell([("result", {}), ("result", {})]))
    assert batch.encode(flavour) is batch.encode(flavour)
    assert calls == [1, 2]
    assert batch.encode(frames.studio) != batch.encode(frames.openbench)


def test_only_a_last_event_that_ends_the_run_is_terminal():
    for kind in ("complete", "cancelled", "error"):
        assert Frames(tell([("result", {}), (kind, {})])).terminal.type == kind
    assert Frames(tell([("result", {})])).terminal is None


def test_the_stream_starts_with_a_retry_and_nothing_a_browser_dispatches():
    assert frames.RETRY.startswith(b"retry: ")
    assert frames.RETRY.endswith(b"\n\n")
    assert b"data" not in frames.RETRY
