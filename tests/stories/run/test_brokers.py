"""Brokers and result stores other than Redis."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from celery import Celery
from celery.exceptions import TaskRevokedError

from celery_redislock import LockedTask

from ...support.stores import STORE
from ...support.workers import running_worker
from .stage import Stage
from .steps import scripted


@contextmanager
def stage_elsewhere(store: str, broker: str, results: str) -> Iterator[Stage]:
    """Have a worker, and an application of its own, with nothing but locks and journal in Redis."""
    queue = f"test-{uuid4().hex}"
    app = Celery("elsewhere", broker=broker, backend=results, set_as_current=False)
    app.conf.update(redislock_url=f"{store}/0", result_expires=120)
    for name, policy in {"skip": "skip", "retry": "retry"}.items():
        app.task(
            scripted,
            base=LockedTask,
            bind=True,
            shared=False,
            name=name,
            lock_args=["key"],
            lock_on_conflict=policy,
            lock_retry_delay=(0.02, 0.1),
        )
    env = {STORE: store, "REDISLOCK_TEST_BROKER": broker, "REDISLOCK_TEST_RESULTS": results}
    try:
        with running_worker("tests.stories.run.tasks_app", env=env, args=("-Q", queue)) as worker:
            yield Stage(app, store, worker, queue)
    finally:
        if results.startswith("rpc"):
            app.backend.result_consumer.stop()
        with app.connection_for_write() as connection:
            for name in (queue, app.thread_oid):
                connection.default_channel.queue_delete(name)
        app.close()


@pytest.mark.parametrize("results", ["db+sqlite:///{path}", "rpc://"])
def test_skip_and_retry_work_over_rabbitmq(results: str, amqp_url: str, store: str, tmp_path: Path) -> None:
    results = results.format(path=tmp_path / "results.sqlite3")
    with stage_elsewhere(store, amqp_url, results) as stage:
        skip, retry = stage.app.tasks["skip"], stage.app.tasks["retry"]
        with stage.held(skip, "a") as holder:
            loser = stage.send(skip, "a")
            with pytest.raises(TaskRevokedError, match=holder.id):
                loser.get(timeout=20)
        with stage.held(retry, "a"):
            # A database may store "retry" later than a run that comes at once stores its result.
            loser = stage.send(retry, "a", ["give", 2], lock={"retry_delay": [0.5, 1]})
            stage.journal.wait_for("conflict", times=2, id=loser.id)
        assert loser.get(timeout=20) == 2
        # Celery publishes the user's retry before it stores that too.
        stage.send(retry, "a", ["retry", 3, 0.5]).get(timeout=20)
        assert "Traceback" not in stage.log()
