"""Workers whose application knows nothing of locks: they know all that a batch, or a late task, needs."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import redis
from celery import Celery, chain

from celery_redislock import LockedTask, locked_batch

from ...support import processes
from ...support.deadlines import eventually
from ...support.places import ROOT
from ...support.workers import running_worker
from . import late_worker

# Celery's own, with redis-py 8, where a result is stored.
pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")


def give(value: int) -> int:
    """Return what it is given."""
    return value


@contextmanager
def publisher(store: str, queue: str) -> Iterator[Celery]:
    """Give the application of a program that publishes what the workers run."""
    app = Celery("publisher", broker=f"{store}/1", backend=f"{store}/2", set_as_current=False)
    app.conf.update(redislock_url=f"{store}/4", redislock_retry_delay=(0.1, 0.3), task_default_queue=queue)
    for name in ("step", "late", "unknown"):
        app.task(give, name=name, shared=False)
    app.task(give, name="locked", base=LockedTask, shared=False, lock_args=(), lock_on_conflict="coalesce")
    yield app
    app.backend.result_consumer.stop()
    app.close()


@contextmanager
def worker_from_python(store: str, queue: str, when: str) -> Iterator[Any]:
    """Have a worker that was started from Python; give what returns its log."""
    with tempfile.NamedTemporaryFile(prefix="worker-", suffix=".log") as output:
        log = Path(output.name)
        command = [sys.executable, "-m", late_worker.__name__, store, queue, when]
        process = processes.start(command, output=output, cwd=ROOT)
        try:
            eventually(lambda: "is ready" in log.read_text(), 40, "the worker should be ready")
            yield log.read_text
        except BaseException:
            print(log.read_text(), file=sys.stderr)
            raise
        finally:
            processes.end_group(process, grace=20)
        assert "left: []" in log.read_text()


@pytest.fixture
def locks(store: str) -> Iterator[redis.Redis]:
    """Give a client of the locks' empty database."""
    with redis.Redis.from_url(f"{store}/4", decode_responses=True) as client:
        client.flushdb()
        yield client


def batch(app: Celery, key: str, *members: str, **options: Any) -> Any:
    """Return a batch of a chain."""
    return locked_batch(chain(*(app.tasks[name].si(7) for name in members)), lock_key=key, **options)


def taken(locks: redis.Redis, key: str) -> None:
    """Have a program that knows only SET NX PX take a lock."""
    assert locks.set(f"redislock:{key}", "another program's", nx=True, px=60_000)


def given_back(locks: redis.Redis, key: str) -> None:
    """Have it give the lock back, and tell nobody."""
    assert locks.delete(f"redislock:{key}")


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo", "gevent"])
def test_a_worker_of_the_command_line_knows_batches_whatever_its_module_imports(
    store: str, locks: redis.Redis, pool: str
) -> None:
    queue = f"test-{uuid4().hex}"
    env = {"REDISLOCK_TEST_PLAIN": f"{store} {queue}"}
    with (
        publisher(store, queue) as app,
        running_worker("tests.stories.run.plain_app", env=env, pool=pool) as worker,
    ):
        taken(locks, "coalesced")
        coalesced = batch(app, "coalesced", "step", "step", lock_on_conflict="coalesce").delay()
        given_back(locks, "coalesced")
        # The task that publishes a batch later, and the members' side.
        taken(locks, "retried")
        retried = batch(app, "retried", "step", "step", lock_on_conflict="retry").delay()
        worker.wait_for_log("retry: lock 'redislock:retried' is busy")
        given_back(locks, "retried")
        assert retried.get(timeout=20) == 7
        eventually(lambda: not locks.exists("redislock:retried"), 5, "the batch should give its lock back")
        # The rescuer: nobody said that this lock is free.
        assert coalesced.get(timeout=20) == 7
        # The receivers of signals: a member that cannot run is counted no more.
        batch(app, "unknown", "unknown", "step").delay()
        eventually(lambda: "unregistered" in worker.log(), 10, "the worker should not know the task")
        eventually(lambda: not locks.exists("redislock:unknown"), 5, "the batch should give its lock back")


@pytest.mark.parametrize("when", ["before", "late"])
def test_a_worker_from_python_knows_all_once_anything_of_ours_is_imported(
    store: str, locks: redis.Redis, when: str
) -> None:
    queue = f"test-{uuid4().hex}"
    with publisher(store, queue) as app, worker_from_python(store, queue, when):
        taken(locks, "retried")
        retried = batch(app, "retried", "late", "late", lock_on_conflict="retry").delay()
        given_back(locks, "retried")
        assert retried.get(timeout=20) == 7
        eventually(lambda: not locks.exists("redislock:retried"), 5, "the batch should give its lock back")
        # Learned of while the worker ran: its coalesced run is published though nobody releases the lock.
        taken(locks, "locked")
        coalesced = app.tasks["locked"].delay(3)
        eventually(lambda: locks.zcard("redislock.index:{redislock:}"), 10, "a run should be wanted")
        given_back(locks, "locked")
        assert coalesced.get(timeout=20) == 3
