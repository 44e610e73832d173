"""Member run: what is told when a batch loses its lock while one of its members runs."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from celery import Celery

from celery_redislock import events
from celery_redislock.batch import member_run
from celery_redislock.batch.note import BatchNote
from celery_redislock.engine import Loss
from celery_redislock.events import Lost

NOTE = BatchNote("redislock:k", "token", "batch", "call", 30_000, 300_000, "skip")


@pytest.fixture
def told() -> Iterator[list[Lost]]:
    """Listen."""
    told: list[Lost] = []
    events.listen(Lost, told.append)
    yield told
    events.unlisten(Lost, told.append)


@pytest.mark.parametrize("reason", ["forced", "taken", "cut_off", "expired"])
def test_a_loss_is_told_in_another_thread_with_its_word_and_the_members_id(
    reason: str, app: Celery, told: list[Lost], caplog: pytest.LogCaptureFixture
) -> None:
    def member() -> None: ...

    task = app.task(name="member")(member)
    task.push_request(id="a-member")
    report = member_run._reporter(task, NOTE)

    with ThreadPoolExecutor(1) as thread:
        thread.submit(report, Loss(reason, "for a test")).result()

    (loss,) = told
    assert (loss.reason, loss.text, loss.task_id) == (reason, "for a test", "a-member")
    assert (loss.task.name, loss.lock.name) == ("member", "redislock:k")
    assert "batch batch continues without its lock 'redislock:k': for a test" in caplog.text
