"""Calls back when due, to some 50 microseconds, where uvloop's own timers round to 1 ms."""

import asyncio
import ctypes
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from heapq import heappop, heappush
from time import perf_counter
from typing import Any, Final

CLOCK_MONOTONIC: Final = 1
ABSOLUTE: Final = 1


class Alarm:
    """One callback to come."""

    __slots__ = ("callback",)

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class _Setting(ctypes.Structure):
    """Linux's itimerspec: interval, then value, each in seconds and nanoseconds."""

    _fields_ = (
        ("pause_s", ctypes.c_long),
        ("pause_ns", ctypes.c_long),
        ("s", ctypes.c_long),
        ("ns", ctypes.c_long),
    )


class Clock:
    """Keeps due times in a heap and one timerfd set to the earliest; times are perf_counter()."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._heap: list[tuple[float, int, Alarm]] = []
        self._order = 0
        self._armed = float("inf")
        self._libc: Any = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
        self._fd = -1
        if self._libc is not None:
            self._fd = self._libc.timerfd_create(CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        self._setting = _Setting()
        self._pointer = ctypes.byref(self._setting)
        if self._fd >= 0:
            loop.add_reader(self._fd, self._fire)

    def call_at(self, due: float, callback: Callable[[], None]) -> Alarm | asyncio.TimerHandle:
        if self._fd < 0:
            return self._loop.call_at(due, callback)  # both clocks are CLOCK_MONOTONIC
        alarm = Alarm(callback)
        self._order += 1
        heappush(self._heap, (due, self._order, alarm))
        if due < self._armed:
            self._arm(due)
        return alarm

    def close(self) -> None:
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _arm(self, due: float) -> None:
        self._armed = due
        self._setting.s = int(due)
        self._setting.ns = max(1, int((due - int(due)) * 1e9))
        self._libc.timerfd_settime(self._fd, ABSOLUTE, self._pointer, None)

    def _fire(self) -> None:
        # Set anew since it rang, the timer has nothing to read: what is due is due all the same.
        with suppress(BlockingIOError):
            os.read(self._fd, 8)
        # Whoever is called may set a new alarm: arm once, at the end.
        self._armed = 0.0
        try:
            self._call_due()
        finally:
            self._armed = float("inf")
            if self._heap:
                self._arm(self._heap[0][0])

    def _call_due(self) -> None:
        heap = self._heap
        while heap and heap[0][0] <= perf_counter():
            alarm = heappop(heap)[2]
            if alarm.callback is not None:
                alarm.callback()
