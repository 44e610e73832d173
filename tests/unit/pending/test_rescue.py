"""Rescue: one look of a worker's step at the locks that are due, without a worker."""

from __future__ import annotations

from typing import Any

import redis
from celery import Celery

from celery_redislock.pending.publish import index_of, publish_pending
from celery_redislock.pending.rescue import AGAIN_MS, Rescuer
from celery_redislock.pending.runs import DUE_AT_ONCE

from ...support.applications import busy, locked


def test_locks_that_cannot_be_served_do_not_keep_the_others_waiting(app: Celery, client: redis.Redis) -> None:
    served = []

    def serve(app: Celery, lock_name: str) -> None:
        if lock_name != "good":
            raise ValueError("cannot be published")
        served.append(lock_name)

    index = index_of(app)
    for number in range(DUE_AT_ONCE):
        index.schedule(f"bad {number}", 0)
    index.schedule("good", 1)
    rescuer = Rescuer(app, serve=serve)

    rescuer.look()
    rescuer.look()

    assert served == ["good"]
    assert client.zcard("redislock.index:{redislock:}") == DUE_AT_ONCE, "the others are tried again"


def test_a_busy_lock_is_looked_at_again_long_before_its_lease_ends(app: Celery, client: redis.Redis) -> None:
    """Whoever takes it away, an operator or another program, need not tell."""

    def body(self: Any, number: int) -> int:
        return number

    task = locked(
        app,
        body,
        name="looked at again",
        bind=True,
        lock_args=(),
        lock_on_conflict="coalesce",
        lock_ttl=600,
        lock_max_hold=900,
    )
    with busy(task, 1):
        task.apply((1,))
        publish_pending(app, "redislock:looked at again")
        look_at_us = client.zscore("redislock.index:{redislock:}", "redislock:looked at again")

    seconds, micros = client.time()
    assert 0 < look_at_us - (seconds * 1_000_000 + micros) <= AGAIN_MS * 1000
