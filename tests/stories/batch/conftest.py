"""Fixtures: a server, workers of ordinary tasks, and what a test does and sees there."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from celery_redislock.engine.group_lease import members_out

from ...support.deadlines import eventually
from ...support.servers import Server, available_kinds
from ...support.workers import Worker, running_worker
from ..run.bodies import STORE
from ..run.journal import Journal
from . import batch_app

QUEUE = "batches"


class BatchStage:
    """Databases, a journal and a worker."""

    def __init__(self, store: str, worker: Worker, queue: str = QUEUE) -> None:
        self.store, self.worker, self.app, self.queue = store, worker, batch_app.app, queue
        self.locks = redis.Redis.from_url(f"{store}/0", decode_responses=True)
        self.journal = Journal(f"{store}/3")
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
        return members_out(self.locks, self.key(lock_key))

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


@pytest.fixture(scope="session")
def batch_store() -> Iterator[str]:
    """Give the address of a server for this package alone, without a database."""
    with Server(available_kinds()[0]) as server:
        address = server.url.removesuffix("/0")
        batch_app.configure(address)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(STORE, address)
            yield address
        # A result that is dropped later would ask the server to be told of it no more.
        gc.collect()
        batch_app.app.backend.result_consumer.stop()
        batch_app.app.close()


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
