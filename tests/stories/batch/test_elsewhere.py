"""Batches in other pools, and with a result store that cannot tell when a chord's header is done."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from celery import Celery, chord

from celery_redislock.batch.canvas import plain, results_of, revived

from ...support.stores import STORE
from ...support.workers import running_worker
from . import batch_app
from .batch_app import batch_of, one, shapes
from .conftest import BatchStage

# Celery's own, with redis-py 8, where a result is stored.
pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")

APP = "tests.stories.batch.batch_app"


@pytest.mark.parametrize("pool", ["threads", "solo", "gevent", "eventlet"])
def test_a_batch_holds_its_lock_to_its_end_in_every_pool(batch_store: str, pool: str) -> None:
    queue = uuid4().hex
    with running_worker(
        APP, env={STORE: batch_store}, pool=pool, concurrency=3, args=("-Q", queue)
    ) as worker:
        stage = BatchStage(batch_store, worker, queue)
        for shape, canvas in shapes("pool", queue).items():
            result = batch_of("pool", canvas).delay()
            result.get(timeout=20)
            stage.is_freed("pool", within=5)
            begun = {entry["id"] for entry in stage.journal.entries("begun", batch="pool")}
            assert {each.id for each in results_of(result)} <= begun, shape
        header = [one("failed", ["sleep", 1.2], queue=queue), one("failed", ["fail"], queue=queue)]
        batch_of("failed", chord(header, one("failed", queue=queue)), lock_ttl=0.5, lock_idle=0.5).delay()
        stage.journal.wait_for("begun", times=2, batch="failed")
        time.sleep(0.7)
        assert stage.is_held("failed") or pool == "solo"
        stage.is_freed("failed")


@contextmanager
def results_in_a_database(store: str, path: Path) -> Iterator[Celery]:
    """Give an application whose results are in a file."""
    app = Celery("elsewhere", broker=f"{store}/1", backend=f"db+sqlite:///{path}", set_as_current=False)
    app.conf.update(redislock_url=f"{store}/0")
    yield app
    gc.collect()
    app.close()


@pytest.mark.parametrize("shape", ["chord", "chain with chord", "chord of chains", "replaced"])
def test_a_chord_that_is_waited_for_by_a_task_of_celerys_own_keeps_the_lock(
    batch_store: str, tmp_path: Path, shape: str
) -> None:
    queue, path = uuid4().hex, tmp_path / "results.sqlite3"
    env = {STORE: batch_store, "REDISLOCK_TEST_RESULTS": f"db+sqlite:///{path}"}
    with (
        results_in_a_database(batch_store, path) as app,
        running_worker(APP, env=env, concurrency=3, args=("-Q", f"{queue},celery")) as worker,
    ):
        stage = BatchStage(batch_store, worker, queue)
        replaced = one("database", ["replace", "chord"], queue=queue)
        canvas = {**shapes("database", queue), "replaced": replaced}[shape]
        result = batch_of("database", revived(plain(canvas), app)).delay()
        expected = 5 if shape == "replaced" else len([*results_of(result)])
        while len(stage.journal.entries("begun", batch="database")) < expected:
            last = len(stage.journal.entries("ended", batch="database"))
            assert stage.is_held("database") or last < len(
                stage.journal.entries("ended", batch="database")
            ), worker.log()
            time.sleep(0.02)
        stage.is_freed("database")
        assert len(stage.journal.entries("begun", batch="database")) == expected


def test_the_application_of_a_batch_is_that_of_its_canvas() -> None:
    assert batch_of("app", one("app")).app is batch_app.app
