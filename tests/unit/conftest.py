"""Fixtures: a Celery app for one test, which leaves no task to others."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis
from celery import Celery
from kombu.transport import memory

from ..support.applications import application, shared_tasks_forgotten


@pytest.fixture(autouse=True)
def _empty_queues() -> None:
    """Throw away what other tests have left: the broker in memory is one for the whole process."""
    for queue in memory.Channel.queues.values():
        queue.queue.clear()


@pytest.fixture
def app(redis_url: str, client: redis.Redis) -> Iterator[Celery]:
    """Give an app on the emptied server."""
    with shared_tasks_forgotten():
        app = application(redis_url)
        yield app
        app.close()
