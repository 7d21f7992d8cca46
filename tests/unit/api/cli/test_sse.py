"""Server-sent events are read the same however their bytes are cut."""

import pytest

from api.cli.sse import Event, Parser

STREAM = (
    b"retry: 2000\n\n"
    b'event: status\ndata: {"status":"queued"}\nid: 1\n\n'
    b": a comment\n\n"
    b"event: heartbeat\ndata: {}\n\n"
    b"event: two\r\ndata: a\r\ndata: b\r\nid: 2\r\n\r\n"
)
EVENTS = [
    Event("status", b'{"status":"queued"}', 1),
    Event("heartbeat", b"{}", 0),
    Event("two", b"a\nb", 2),
]


@pytest.mark.parametrize("size", range(1, len(STREAM) + 1))
def test_cuts_do_not_matter(size):
    parser = Parser()
    found = [
        event for at in range(0, len(STREAM), size) for event in parser.feed(STREAM[at : at + size])
    ]
    assert found == EVENTS


def test_an_unfinished_event_is_not_told():
    assert Parser().feed(b"event: status\ndata: {}\nid: 3\n") == []
