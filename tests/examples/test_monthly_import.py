"""Two batches that replace one table leave exactly the rows of the file."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from celery import Celery, Signature
from celery.result import AsyncResult

from example_project.csv_import import flights_file, rows_in_database
from example_project.monthly_import import all_months, monthly_import

from ..support.workers import running_worker

# Celery's result backend, which here stores results in this process too.
pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")

#: Every so many rows of the real file, so that all months are there.
EVERY = 500


@pytest.fixture(scope="module")
def year(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """Give a small file with flights of the whole year, and its number of rows."""
    rows = pd.read_csv(flights_file()).iloc[::EVERY]
    path = tmp_path_factory.mktemp("year") / "flights.csv"
    rows.to_csv(path, index=False)
    return path, len(rows)


@pytest.fixture
def worker_env(project: Celery, redis_url: str, database_url: str) -> dict[str, str]:
    """Give what a worker needs to know."""
    return {"REDISLOCK_URL": redis_url, "DATABASE_URL": database_url}


def twice(canvas: Signature, other: Signature) -> list[AsyncResult[int]]:
    """Publish both at once and wait for both ends."""
    results = [canvas.apply_async(), other.apply_async()]
    for result in results:
        result.get(timeout=60, propagate=False)
    return results


def test_with_the_lock_the_second_batch_is_skipped(
    worker_env: dict[str, str], year: tuple[Path, int]
) -> None:
    """One counted all rows, one says that it did not run, and the table holds the file."""
    path, rows = year
    with running_worker("example_project.app", env=worker_env, concurrency=4):
        first, second = twice(monthly_import(str(path)), monthly_import(str(path)))

    assert (first.state, second.state) == ("SUCCESS", "REVOKED")
    assert first.result == rows_in_database() == rows


def test_without_the_lock_the_batches_mix(worker_env: dict[str, str], year: tuple[Path, int]) -> None:
    """The control: both fill the table that both have emptied. Once in a while one is through before."""
    path, rows = year
    left: list[int] = []
    with running_worker("example_project.app", env=worker_env, concurrency=4):
        while max(left, default=0) <= rows and len(left) < 5:
            results = twice(all_months(str(path)), all_months(str(path)))
            assert [result.state for result in results] == ["SUCCESS", "SUCCESS"]
            left.append(rows_in_database())

    assert max(left) > rows


def test_one_batch_after_the_other_replaces_the_table(
    worker_env: dict[str, str], year: tuple[Path, int]
) -> None:
    """The next batch may be published as soon as the result of the one before it is there."""
    path, rows = year
    with running_worker("example_project.app", env=worker_env, concurrency=4):
        for _ in range(2):
            assert monthly_import(str(path)).delay().get(timeout=60) == rows

    assert rows_in_database() == rows
