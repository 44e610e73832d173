"""An import that replaces a table leaves exactly the rows of the file."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from celery import Celery
from celery.result import AsyncResult

from example_project.csv_import import (
    flights_file,
    import_flights,
    replace_rows,
    rows_in_database,
    rows_in_file,
)

from .conftest import PacedWorker

ROWS = 1_000


@pytest.fixture
def small_file(tmp_path: Path) -> Path:
    """Give the first rows of the real file."""
    path = tmp_path / "flights.csv"
    pd.read_csv(flights_file(), nrows=ROWS).to_csv(path, index=False)
    return path


def import_twice(path: Path) -> list[AsyncResult[int]]:
    """Import the file twice at the same time and wait for both ends."""
    imports = [import_flights.delay(str(path)) for _ in range(2)]
    for result in imports:
        result.get(timeout=30, propagate=False)
    return imports


def test_with_the_lock_the_second_import_is_skipped(
    project: Celery, paced_worker: PacedWorker, small_file: Path
) -> None:
    """One ran, one says that it did not, and the table holds the file."""
    with paced_worker(mode="on"):
        states = sorted(result.state for result in import_twice(small_file))

    assert states == ["REVOKED", "SUCCESS"]
    assert rows_in_database() == ROWS


def test_without_the_lock_rows_are_there_twice(
    project: Celery, paced_worker: PacedWorker, small_file: Path
) -> None:
    """The control: both deleted first, then both inserted; and both report success."""
    with paced_worker(mode="off"):
        states = [result.state for result in import_twice(small_file)]

    assert states == ["SUCCESS", "SUCCESS"]
    assert rows_in_database() == 2 * ROWS


def test_a_second_import_replaces_the_first(database_url: str, small_file: Path) -> None:
    """One after the other is what the import was made for."""
    seen: list[int] = []

    replace_rows(small_file, seen.append)
    replace_rows(small_file, seen.append)

    assert seen == [ROWS, ROWS]
    assert rows_in_database() == ROWS


def test_the_real_file_has_336776_flights() -> None:
    """The demo measures itself against this number."""
    assert rows_in_file(flights_file()) == 336_776
