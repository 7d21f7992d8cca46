"""Alarms ring when due, in order, and survive each other."""

import asyncio
from time import perf_counter

import pytest

from worker.simulator.clock import Clock


@pytest.fixture
async def clock():
    clock = Clock(asyncio.get_running_loop())
    yield clock
    clock.close()


async def test_alarms_ring_in_order_and_never_early(clock):
    rung, start = [], perf_counter()
    for offset in (0.03, 0.0101, 0.0203, 0.0101, -1.0):
        due = start + offset
        clock.call_at(due, lambda due=due: rung.append((due, perf_counter())))
    await asyncio.sleep(0.08)
    assert [round(due - start, 4) for due, _ in rung] == [-1.0, 0.0101, 0.0101, 0.0203, 0.03]
    assert all(due <= now < due + 0.02 or due < start for due, now in rung)


async def test_a_cancelled_alarm_is_silent(clock):
    rung = []
    first = clock.call_at(perf_counter() + 0.01, lambda: rung.append(1))
    clock.call_at(perf_counter() + 0.02, lambda: rung.append(2))
    first.cancel()
    await asyncio.sleep(0.05)
    assert rung == [2]


async def test_an_alarm_may_set_the_next_and_an_earlier_one_comes_first(clock):
    rung = []

    def again():
        rung.append(perf_counter())
        if len(rung) < 20:
            clock.call_at(rung[-1] + 0.001, again)

    clock.call_at(perf_counter() + 10, again)
    clock.call_at(perf_counter() + 0.001, again)
    await asyncio.sleep(0.1)
    assert len(rung) == 20


async def test_a_timer_set_anew_after_it_rang_is_no_error(clock):
    rung = []
    clock.call_at(perf_counter() + 0.002, lambda: rung.append(1))
    while perf_counter() < clock._armed + 0.001:
        pass  # it has rung, and the loop has not looked yet
    clock._arm(perf_counter() + 0.5)
    clock._fire()
    assert rung == [1]


async def test_an_alarm_that_fails_silences_no_other(clock):
    rung = []

    def fail():
        raise RuntimeError

    clock.call_at(perf_counter() + 10, fail)
    clock._heap[0] = (0.0, 0, clock._heap[0][2])
    with pytest.raises(RuntimeError):
        clock._fire()
    clock.call_at(perf_counter() + 0.005, lambda: rung.append(1))
    await asyncio.sleep(0.03)
    assert rung == [1]


async def test_without_a_timerfd_the_loop_keeps_the_time(clock):
    clock.close()
    rung = asyncio.Event()
    clock.call_at(perf_counter() + 0.005, rung.set)
    await asyncio.wait_for(rung.wait(), 1)


async def test_the_timer_is_set_to_the_nanosecond(clock):
    due = perf_counter() + 1.2345
    clock.call_at(due, lambda: None)
    assert clock._setting.s + clock._setting.ns / 1e9 == pytest.approx(due, abs=1e-6)
