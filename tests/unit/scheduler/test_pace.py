"""Leases may be expired only while we watched."""

import pytest

from scheduler import upkeep
from scheduler.upkeep import Pace


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(upkeep.time, "monotonic", lambda: now[0])
    return now


def test_a_new_scheduler_first_waits_one_lease(clock):
    pace = Pace(8.0)
    assert not pace.may_expire
    clock[0] += 7.9
    assert not pace.may_expire
    clock[0] += 0.1
    assert pace.may_expire


def test_after_an_outage_every_holder_gets_one_lease_to_renew(clock):
    pace = Pace(8.0)
    clock[0] += 100
    pace.interrupted()
    assert not pace.may_expire
    clock[0] += 8
    assert pace.may_expire
