"""What events add up to."""

import json

from api.cli.sse import Event
from api.cli.tally import Tally


def feed(tally, kind, **data):
    tally.feed(Event(kind, json.dumps(data).encode(), 1))


def test_counts_samples_failures_and_cost():
    tally = Tally()
    feed(tally, "status", status="running")
    for current, good in ((1, True), (2, False)):
        feed(tally, "progress", current=current, total=4, model="Sim", context_tokens=2000)
        feed(tally, "result", success=good, cost=0.25 if good else None)
    assert (tally.status, tally.done, tally.total) == ("running", 2, 4)
    assert (tally.failed, tally.cost, tally.at) == (1, 0.25, "Sim at 2000 tokens")


def test_words_tell_rate_and_time_to_go():
    tally = Tally(10)
    assert tally.words(0.0) == "0/10 samples"
    tally.done = 5
    assert tally.words(2.0) == "5/10 samples, 2.5/s, 2 s to go"
    tally.done, tally.failed, tally.cost = 10, 1, 0.5
    assert tally.words(4.0) == "10/10 samples, 2.5/s, 1 failed, $0.5000"


def test_an_unknown_event_changes_nothing():
    tally = Tally(3)
    feed(tally, "surprise", current=9)
    assert tally.words(1.0) == "0/3 samples"
