"""What the benchmark reads of processes and of servers."""

from __future__ import annotations

import math
import os
import time

import pytest
import redis

from benchmarks import machine
from benchmarks.keyspace import keys_like


def test_processor_time_is_read_finer_than_the_ticks_of_proc() -> None:
    before = machine.cpu_seconds(os.getpid())
    used = time.process_time()
    while time.process_time() - used < 0.003:
        pass

    assert machine.cpu_seconds(os.getpid()) - before == pytest.approx(0.003, abs=0.002)


def test_keys_are_weighed_with_the_time_that_they_have_left(client: redis.Redis) -> None:
    client.set("lock:a", "x" * 1000)
    client.set("lock:b", "x", px=60_000)
    client.set("other", "x")

    light, heavy = sorted(keys_like(client, "lock:*"), key=lambda key: key.weight)

    assert (light.weight < 200, heavy.weight > 1000) == (True, True)
    assert 50_000 < light.left_ms <= 60_000
    assert heavy.left_ms == math.inf
