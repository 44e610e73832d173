"""A batch whose worker is gone: its lock ends by itself, or goes on with the message that comes again."""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from celery import Celery, chain, chord, group
from celery.states import SUCCESS
from click.testing import CliRunner

from celery_redislock.batch.canvas import results_of
from celery_redislock.operations.commands import locks

from ...support.deadlines import eventually
from ...support.stores import STORE
from ...support.workers import running_worker
from . import batch_app
from .batch_app import batch_of, one
from .conftest import BatchStage

# Celery's own, with redis-py 8, where a result is stored.
pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")

APP = "tests.stories.batch.batch_app"


def test_the_lock_of_a_killed_worker_ends_with_its_lease(batch_store: str) -> None:
    queue = uuid4().hex
    with running_worker(APP, env={STORE: batch_store}, args=("-Q", queue)) as worker:
        stage = BatchStage(batch_store, worker, queue)
        canvas = chord([one("gone", ["wait", "never"], queue=queue)] * 2, one("gone", queue=queue))
        batch_of("gone", canvas, lock_ttl=1, lock_idle=3).delay()
        stage.journal.wait_for("begun", times=2, batch="gone")
        time.sleep(1.5)
        assert stage.is_held("gone")
        worker.kill()
        killed = time.monotonic()
        eventually(lambda: not stage.is_held("gone"), 10, "the lock should have ended")
        # The longer of the two, and how often a test looks on a busy machine.
        assert time.monotonic() - killed < 3 + 1


def test_the_lock_of_a_killed_worker_is_kept_for_members_that_another_takes_up(batch_store: str) -> None:
    queue = uuid4().hex
    canvas = group(
        one("kept", ["wait", "never"], queue=queue), *[one("kept", ["wait", "go"], queue=queue)] * 3
    )
    with running_worker(
        APP, env={STORE: batch_store}, concurrency=1, args=("-Q", queue, "--prefetch-multiplier", "1")
    ) as worker:
        stage = BatchStage(batch_store, worker, queue)
        batch_of("kept", canvas, lock_ttl=1, lock_idle=30).delay()
        stage.journal.wait_for("begun", batch="kept")
        worker.kill()
    with running_worker(APP, env={STORE: batch_store}, concurrency=1, args=("-Q", queue)) as worker:
        stage.worker = worker
        stage.journal.wait_for("begun", times=2, batch="kept")
        time.sleep(1)
        assert stage.is_held("kept")
        stage.journal.open("go", times=3)
        # The dead one counts for one ttl; one message may be with the dead worker.
        stage.journal.wait_for("ended", times=2, batch="kept")


@contextmanager
def rabbitmq(store: str, broker: str, queue: str) -> Iterator[Celery]:
    """Give an application whose messages are in RabbitMQ, and nothing else."""
    app = Celery("elsewhere", broker=broker, backend=f"{store}/2", set_as_current=False)
    app.conf.update(redislock_url=f"{store}/0")
    yield app
    with app.connection_for_write() as connection:
        connection.default_channel.queue_delete(queue)
    gc.collect()
    app.backend.result_consumer.stop()
    app.close()


def test_over_rabbitmq_a_member_of_a_killed_worker_comes_again_and_the_batch_goes_on(
    batch_store: str, amqp_url: str
) -> None:
    queue = f"test-{uuid4().hex}"
    worker = partial(
        running_worker,
        APP,
        env={STORE: batch_store, "REDISLOCK_TEST_BROKER": amqp_url},
        concurrency=1,
        args=("-Q", queue),
    )
    with rabbitmq(batch_store, amqp_url, queue) as app, worker() as one_worker, worker() as other:

        def part(name: str, *steps: Any) -> Any:
            facts = {"batch": "rabbit", "steps": steps}
            return app.signature(name, kwargs=facts, immutable=True).set(queue=queue)

        stage = BatchStage(batch_store, one_worker, queue)
        result = batch_of(
            "rabbit", chain(part("late", ["wait", "go"]), part("member")), lock_ttl=2, lock_idle=30
        ).delay()
        stage.journal.wait_for("begun", batch="rabbit")
        workers = {child: worker for worker in (one_worker, other) for child in worker.children()}
        workers[int(stage.out("rabbit")[0]["pid"])].kill()
        stage.journal.wait_for("begun", times=2, batch="rabbit")
        assert stage.is_held("rabbit")
        stage.journal.open("go", times=2)
        result.get(timeout=20)
        assert {each.state for each in results_of(result)} == {SUCCESS}
        # The dead run counts for one ttl.
        stage.is_freed("rabbit", within=2 + 5)
        del result


def test_show_says_which_members_are_still_out(stage: BatchStage) -> None:
    first = one("shown", ["wait", "go"])
    result = batch_of("shown", group(first, one("shown").set(countdown=20))).delay()
    stage.journal.wait_for("begun", batch="shown")

    def show(*arguments: str, status: int = 0) -> str:
        shown = CliRunner().invoke(locks, ["show", *arguments], obj=SimpleNamespace(app=batch_app.app))
        assert shown.exit_code == status, shown.output
        return str(shown.output)

    runs, waits = result.results
    eventually(lambda: "runs" in show("shown"), 5, "one should run")
    text = show("shown")
    assert "task           celery.group" in text
    assert f"in flight      member[{runs.id}] runs on " in text
    assert f"in flight      member[{waits.id}] waits" in text
    facts = json.loads(show("shown", "--json"))
    assert {said["id"]: said["state"] for said in facts["members"]} == {runs.id: "runs", waits.id: "waits"}
    waits.revoke()
    stage.journal.open("go")
    eventually(lambda: "runs" not in show("shown"), 5, "only one should be out")
    assert len(stage.out("shown")) == 1
    stage.locks.delete(stage.key("shown"))
    assert "free" in show("shown", status=1)
