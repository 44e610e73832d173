"""Many callers of a missing report cost one computation."""

from __future__ import annotations

from celery import Celery

from example_project.cache_refresh import cached_report

from .conftest import PacedWorker

CALLERS = 3


def computations() -> int:
    """Ask for the report from all sides at once; return how many different ones came back."""
    calls = [cached_report.delay("sales") for _ in range(CALLERS)]
    return len({call.get(timeout=40)["computed_by"] for call in calls})


def test_with_the_lock_all_callers_share_one_computation(project: Celery, paced_worker: PacedWorker) -> None:
    """Those who waited find the report in the cache."""
    with paced_worker(mode="on", parties=CALLERS, they_wait=True):
        assert computations() == 1


def test_without_the_lock_every_caller_computes(project: Celery, paced_worker: PacedWorker) -> None:
    """The control: a stampede."""
    with paced_worker(mode="off", parties=CALLERS):
        assert computations() == CALLERS
