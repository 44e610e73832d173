"""An app for greenlets: one task holds its lock while it waits, another one computes."""

from __future__ import annotations

import os
import time

from celery import Celery

from celery_redislock import locked_task

#: Names the environment variable with the server of broker, results and locks.
STORE = "CRAWL_STORE"

app = Celery("crawl", broker=os.environ.get(STORE), backend=os.environ.get(STORE), set_as_current=False)


@locked_task(app=app, shared=False, name="crawl.fetch", lock_args=[], lock_ttl=6)
def fetch(seconds: float) -> None:
    """Wait, as for an answer from a network."""
    time.sleep(seconds)


@locked_task(app=app, shared=False, name="crawl.index", lock_args=[], lock_ttl=60)
def index(seconds: float) -> None:
    """Compute, and wait for nothing."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        sum(range(1000))
