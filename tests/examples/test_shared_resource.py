"""A file that is read, changed and written by several processes keeps every change."""

from __future__ import annotations

from pathlib import Path

from celery import Celery

from example_project.shared_resource import count_visit

from .conftest import PacedWorker


def count_twice(path: Path) -> list[int]:
    """Count two visits at the same time and return what each run believes."""
    visits = [count_visit.delay(str(path)) for _ in range(2)]
    return sorted(visit.get(timeout=30) for visit in visits)


def test_with_the_lock_no_visit_is_lost(project: Celery, paced_worker: PacedWorker, tmp_path: Path) -> None:
    """The second run reads only what the first has written."""
    counter = tmp_path / "visits"

    with paced_worker(mode="on"):
        assert count_twice(counter) == [1, 2]

    assert counter.read_text() == "2"


def test_without_the_lock_a_visit_is_lost(project: Celery, paced_worker: PacedWorker, tmp_path: Path) -> None:
    """The control: the same two runs, both of which read before either wrote."""
    counter = tmp_path / "visits"

    with paced_worker(mode="off"):
        assert count_twice(counter) == [1, 1]

    assert counter.read_text() == "1"
