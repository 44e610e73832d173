"""Clock: the Redis server's time, on clocks that these tests turn."""

from __future__ import annotations

import pytest

from celery_redislock.beat.clock import ServerClock


def test_the_servers_clock_goes_on_when_ours_is_stepped() -> None:
    wall, passed = [1_000.0], [50.0]
    clock = ServerClock(1_000_000, counter=lambda: passed[0], wall_clock=lambda: wall[0])

    wall[0], passed[0] = 1_003.0, 53.0
    assert clock.now_ms == 1_003_000
    assert not clock.was_wall_clock_stepped()

    wall[0] += 3600
    assert clock.now_ms == 1_003_000
    assert clock.was_wall_clock_stepped()
    assert not clock.was_wall_clock_stepped()
    assert clock.ahead_s == pytest.approx(3600)
