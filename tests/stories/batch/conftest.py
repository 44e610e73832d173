"""Fixtures: a server, workers of ordinary tasks, and what a test does and sees there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import pytest
import redis

from celery_redislock.engine.group_lease import members_in_flight

from ...support.deadlines import eventually
from ...support.stores import STORE, own_store_of
from ...support.workers import Worker, running_worker
from ..run.visits import VisitsJournal
from . import batch_app

QUEUE = "batches"


class BatchStage:
    """Databases, a journal and a worker."""

    def __init__(self, store: str, worker: Worker, queue: str = QUEUE) -> None:
        self.store, self.worker, self.app, self.queue = store, worker, batch_app.app, queue
        self.locks = redis.Redis.from_url(f"{store}/0", decode_responses=True)
        self.journal = VisitsJournal(store)
        for client in (self.locks, redis.Redis.from_url(f"{store}/2"), self.journal.client):
            client.flushdb()

    def key(self, lock_key: str) -> str:
        """Return the Redis key of a batch's lock."""
        return f"redislock:{lock_key}"

    def frozen(self, canvas: Any) -> Any:
        """Return the result that a canvas would have."""
        return canvas.freeze()

    def is_held(self, lock_key: str) -> bool:
        """Whether a batch has the lock."""
        return bool(self.locks.exists(self.key(lock_key)))

    def out(self, lock_key: str) -> list[dict[str, Any]]:
        """List the members that are out."""
        return members_in_flight(self.locks, self.key(lock_key))

    def is_freed(self, lock_key: str, within: float = 10.0) -> None:
        """Return when the lock is free, long before its lease would have ended."""
        eventually(
            lambda: not self.is_held(lock_key),
            within,
            f"{lock_key} should be free; out: {self.out(lock_key)}\n{self.worker.log()[-4000:]}",
        )

    def spans(self, *batches: str) -> dict[str, tuple[float, float]]:
        """Tell, of each batch, when its first member began and its last one ended."""
        found = {}
        for batch in batches:
            times = [
                e["at"] for event in ("begun", "ended") for e in self.journal.entries(event, batch=batch)
            ]
            if times:
                found[batch] = (min(times), max(times))
        return found


@contextmanager
def recorded_starts() -> Iterator[list[Any]]:
    """Publish no start of a batch meanwhile; give the arguments of those that would have been published."""
    starts: list[Any] = []
    starter = mock.MagicMock()
    starter.signature.side_effect = lambda arguments, **_: starts.append(arguments) or mock.MagicMock()
    with mock.patch.dict(batch_app.app.tasks, {"celery_redislock.start_batch": starter}):
        yield starts


@pytest.fixture(scope="session")
def batch_store() -> Iterator[str]:
    """Give the address of a server for this package alone, without a database."""
    with own_store_of(batch_app.app, batch_app.configure) as address:
        yield address


@pytest.fixture(scope="session")
def batch_worker(batch_store: str) -> Iterator[Worker]:
    """Give a worker of three processes."""
    with running_worker(
        "tests.stories.batch.batch_app",
        env={STORE: batch_store},
        concurrency=3,
        args=("-Q", f"{QUEUE},celery"),
    ) as worker:
        yield worker


@pytest.fixture
def stage(batch_store: str, batch_worker: Worker) -> BatchStage:
    """Give empty databases and a worker."""
    return BatchStage(batch_store, batch_worker)
