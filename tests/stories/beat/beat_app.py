"""The app whose schedule the beats of the tests send; the environment says where and how."""

from __future__ import annotations

import json
import os
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import redis
from celery import Celery
from celery.schedules import crontab

from .ticks import EVERY_MINUTE, INTERVALS, RUNS

_real_time = time.time


def _ahead_s() -> float:
    """Return how far this process's wall clock is ahead, as the test has set it, seconds."""
    return float(Path(os.environ["BEAT_CLOCK"]).read_text()) if "BEAT_CLOCK" in os.environ else 0.0


class SteppedClock(Celery):
    """An app with a wall clock that a test can step."""

    def now(self) -> datetime:
        """Return the time, as schedules see it."""
        return datetime.now(timezone.utc) + timedelta(seconds=_ahead_s())


time.time = lambda: _real_time() + _ahead_s()

app = SteppedClock("beat_app", broker=os.environ["BEAT_BROKER"], set_as_current=True)
app.conf.update(
    redislock_url=os.environ["BEAT_LOCKS"],
    redislock_beat_ttl=float(os.environ["BEAT_TTL"]),
    redislock_beat_scheduler=os.environ["BEAT_SCHEDULER"],
    redbeat_redis_url=os.environ["BEAT_BROKER"],
    beat_max_loop_interval=float(os.environ["BEAT_MAX_INTERVAL"]),
    # A broker that says nothing must not hold a beat for minutes.
    broker_transport_options={"socket_timeout": 2, "socket_connect_timeout": 2},
    broker_connection_retry_on_startup=True,
    task_ignore_result=True,
    result_expires=None,
    beat_schedule={
        **{name: {"task": "tick", "schedule": seconds} for name, seconds in INTERVALS.items()},
        EVERY_MINUTE: {"task": "tick", "schedule": crontab()},
    },
)


@app.task(bind=True, shared=False, name="tick")
def tick(self: Any) -> None:
    """Report for which tick it runs."""
    with redis.Redis.from_url(os.environ["BEAT_LOCKS"]) as client:
        client.rpush(RUNS, json.dumps(self.request.redislock_beat))
