"""A copy that is made anew after each change ends up with the last change."""

from __future__ import annotations

from celery import Celery

from celery_redislock import LockedTask
from example_project import store
from example_project.resync import copied_version, resync

from ..support.deadlines import eventually
from .conftest import PacedWorker
from .meeting import Meeting


def change_while_a_copy_is_made(redis_url: str, policy: str) -> None:
    """Change the source once a copy is being made of it, and wait for the second resync's end."""
    meeting = Meeting(redis_url, parties=2)
    with store.connect() as source:
        source.set(store.key("version"), 1)
        first = resync.apply_async(lock={"on_conflict": policy})
        eventually(lambda: meeting.inside() == 1, 20, "the first copy should be under way")
        source.set(store.key("version"), 2)
        second = resync.apply_async(lock={"on_conflict": policy})
    first.get(timeout=30)
    second.get(timeout=30, propagate=False)


def test_with_coalesce_the_change_in_the_middle_is_copied_too(
    project: Celery, paced_worker: PacedWorker, redis_url: str
) -> None:
    """One more run is wanted, and comes."""
    with paced_worker(mode="on"):
        change_while_a_copy_is_made(redis_url, "coalesce")

    assert copied_version() == 2


def test_with_skip_the_change_in_the_middle_is_lost(
    project: Celery, paced_worker: PacedWorker, redis_url: str
) -> None:
    """The control: the copy that was under way had read before the change."""
    with paced_worker(mode="on"):
        change_while_a_copy_is_made(redis_url, "skip")

    assert copied_version() == 1


def test_the_project_says_coalesce() -> None:
    """What the test above gives each call is what the task has by itself."""
    assert isinstance(resync, LockedTask)
    assert resync.lock_on_conflict == "coalesce"
