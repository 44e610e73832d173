"""Fixtures: an app whose servers nobody asks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from celery import Celery

from ...support.applications import application, shared_tasks_forgotten, with_own_tasks


@pytest.fixture
def app(app: Celery) -> Celery:
    """Give an app without the tasks that other tests share."""
    return with_own_tasks(app)


@pytest.fixture
def unreached() -> Iterator[Celery]:
    """Give an app whose Redis is not there."""
    with shared_tasks_forgotten():
        app = with_own_tasks(application("redis://127.0.0.1:1/0"))
        yield app
        app.close()
