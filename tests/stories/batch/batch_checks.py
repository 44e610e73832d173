"""Checks: what must hold of two batches under one lock; wrong batches must fail them."""

from __future__ import annotations

import time
from typing import Any
from uuid import uuid4

from celery.states import PENDING, REVOKED

from celery_redislock.batch.canvas import results_of

from ...support.deadlines import eventually
from .batch_app import app, batch_of, one, publish, shapes
from .conftest import BatchStage

_NAMES = ("left", "right")


def two_chords_never_interleave(stage: BatchStage, incident: str = "nothing", **options: Any) -> None:
    """Have two processes publish a chord of 12 each at once: one runs to its end, then the other."""
    key = uuid4().hex
    stage.journal.client.delete("journal")
    options = {"seconds": 0.03, "lock_on_conflict": "retry", **options}
    published = [
        publish.apply_async((key, name, incident), kwargs=options, queue=stage.queue) for name in _NAMES
    ]
    stage.journal.wait_for("ready", times=2, key=key)
    stage.journal.open(key, times=2)
    ends_badly = incident in ("fails", "is killed")
    for each in published:
        result = app.AsyncResult(each.get(timeout=20))
        # Of a chord with a bad member too: the body's result says that it failed.
        result.get(timeout=60, propagate=False)
        assert result.successful() is not ends_badly, result.result
    stage.is_freed(key, within=20)
    left, right = (stage.spans(*_NAMES)[name] for name in _NAMES)
    assert left[1] < right[0] or right[1] < left[0], f"they interleaved: {left} and {right}"
    for name in _NAMES:
        ids = {entry["id"] for entry in stage.journal.entries("begun", batch=name)}
        assert len(ids) == (12 if ends_badly else 13)


def the_last_of_three_batches_runs_when_the_first_ends(
    stage: BatchStage, shape: str, rescued: bool = True
) -> None:
    """Publish three batches that coalesce while the first one runs; then let that end.

    Args:
        stage: With a worker.
        shape: Of the second and the third.
        rescued: Whether a worker may look at the lock before its lease ends.
    """
    key = uuid4().hex
    options = {"lock_on_conflict": "coalesce", "lock_idle": 300}
    first = batch_of(key, one("first", ["wait", key], queue=stage.queue), **options).delay()
    stage.journal.wait_for("begun", batch="first", id=first.id)
    second = batch_of(key, shapes("second", stage.queue)[shape], **options).delay()
    third = batch_of(key, shapes("third", stage.queue)[shape], **options).delay()
    assert {each.state for batch in (second, third) for each in results_of(batch)} == {PENDING}
    if not rescued:
        stage.locks.zadd("redislock.index:{redislock:}", {stage.key(key): (time.time() + 600) * 1_000_000})
    stage.journal.open(key)
    eventually(lambda: stage.journal.entries("begun", batch="third"), 20, "the last batch should have begun")
    third.get(timeout=20)
    first.get(timeout=5)
    for each in results_of(second):
        assert each.state == REVOKED
        assert third.id in str(each.result), f"{each.result} does not name {third.id}"
        assert stage.key(key) in str(each.result)
    stage.is_freed(key)
    begun = [entry["id"] for entry in stage.journal.entries("begun", batch="third")]
    assert sorted(begun) == sorted(each.id for each in results_of(third))
    assert not stage.journal.entries("begun", batch="second")
    spans = stage.spans("first", "third")
    assert spans["first"][1] < spans["third"][0]
