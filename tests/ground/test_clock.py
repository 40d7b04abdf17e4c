"""Clocks: the machine's, and one that is set."""

from __future__ import annotations

import time

from relaybot.clock import Clock, SetClock, SystemClock


def test_the_machines_clock_tells_whole_seconds_since_1970() -> None:
    clock: Clock = SystemClock()
    before = int(time.time())
    now = clock.now()
    assert type(now) is int
    assert before <= now <= int(time.time())


def test_a_set_clock_stands_still_until_it_is_moved_forward_or_back() -> None:
    clock = SetClock(1_000)
    assert [clock.now(), clock.now()] == [1_000, 1_000]
    clock.advance(5)
    assert clock.now() == 1_005
    clock.advance(-10)
    assert clock.now() == 995
