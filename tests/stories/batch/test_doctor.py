"""Doctor of batches: it says when `lock_idle` was shorter than the members of a batch have waited."""

from __future__ import annotations

from uuid import uuid4

import pytest

from celery_redislock.doctor.configuration import Configuration
from celery_redislock.doctor.finding import Finding
from celery_redislock.doctor.history import History
from celery_redislock.doctor.live import Live
from celery_redislock.doctor.rule import HISTORY
from celery_redislock.doctor.rules import RULES
from celery_redislock.observing.statistics import read

from ...support.stores import STORE
from ...support.workers import running_worker
from .batch_app import app, batch_of, one
from .conftest import BatchStage

# Celery's own, with redis-py 8, where a result is stored.
pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")


def found() -> list[Finding]:
    """Return what the history says of waits that were too long."""
    history = History(Live(Configuration.of(app)), read(app))
    rules = [rule for rule in RULES if rule.id == "RL107" and rule.layer == HISTORY]
    return [finding for rule in rules for finding in rule.findings(history)]


@pytest.mark.parametrize(("idle_s", "is_found"), [(0.5, True), (30, False)])
def test_a_batch_whose_members_waited_for_longer_than_lock_idle_is_found(
    batch_store: str, idle_s: float, is_found: bool
) -> None:
    queue = uuid4().hex
    with running_worker(
        "tests.stories.batch.batch_app", env={STORE: batch_store}, args=("-Q", queue)
    ) as worker:
        BatchStage(batch_store, worker, queue)
        canvas = one("late", ["retry", 2], queue=queue)
        batch_of("late", canvas, lock_ttl=0.5, lock_idle=idle_s).delay().get(timeout=30)
    # What a worker has counted is written when it ends.
    problems = found()

    assert len(problems) == is_found
    assert all("its lock_idle of 0.5 s none of its members ran" in each.message for each in problems)
    assert all(each.cure.startswith("lock_idle=10 ") for each in problems)
