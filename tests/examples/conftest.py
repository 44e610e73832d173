"""Fixtures: the example project on the test's server, and workers in which runs must meet."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
import redis
from celery import Celery, current_app

from ..support.workers import Worker, running_worker
from .meeting import PARTIES, THEY_WAIT

#: A worker for the given number of parties, with the locks on or (the control) off.
PacedWorker = Callable[..., AbstractContextManager[Worker]]


@pytest.fixture
def database_url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Give the address of a fresh database with the project's tables, here and in workers."""
    from example_project import database

    url = f"sqlite:///{tmp_path / 'example.sqlite3'}"
    if os.environ.get("DATABASE_URL"):
        url = request.getfixturevalue("postgres_url")
    monkeypatch.setenv("DATABASE_URL", url)
    database.recreate_tables()
    return url


@pytest.fixture
def project(redis_url: str, client: redis.Redis) -> Iterator[Celery]:
    """Give the example project's application, as a publisher on the emptied server."""
    from example_project.app import app

    before = current_app._get_current_object()
    app.conf.update(broker_url=redis_url, result_backend=redis_url, redislock_url=redis_url)
    app.set_current()
    yield app
    app.close()
    before.set_current()


@pytest.fixture
def paced_worker(project: Celery, redis_url: str, database_url: str) -> PacedWorker:
    """Start workers whose runs meet: ``with paced_worker(parties=2, mode="off"): ...``.

    With ``they_wait=True`` those that wait for the lock are not waited for.
    """

    @contextmanager
    def start(*, mode: str, parties: int = 2, they_wait: bool = False) -> Iterator[Worker]:
        env = {
            "REDISLOCK_URL": redis_url,
            "REDISLOCK_MODE": mode,
            "DATABASE_URL": database_url,
            PARTIES: str(parties),
            **({THEY_WAIT: "yes"} if they_wait else {}),
        }
        with running_worker("tests.examples.paced_app", env=env, concurrency=parties) as worker:
            yield worker

    return start
