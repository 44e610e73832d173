"""Use 7: a batch: twelve tasks import a month each, a last one counts; two batches never mix.

A lock on each task would not help: between two members of one batch, members of another could
run. The batch has one lock from its publication until its last result.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from celery import Signature, chord, shared_task
from sqlalchemy import delete

from celery_redislock import locked_batch

from . import csv_import, database
from .database import flights
from .events import record, recorded_run

MONTHS = range(1, 13)


def monthly_import(path: str | None = None) -> Signature:
    """Return the batch, of which only one runs at a time."""
    return locked_batch(all_months(path), lock_key="flights by month")


def all_months(path: str | None = None) -> Signature:
    """Return the same without a lock: empty the table, import all months side by side, count."""
    return empty_table.si() | chord([import_month.si(month, path) for month in MONTHS], count_rows.s())


@shared_task(bind=True)
def start_monthly_import(self: Any) -> None:
    """Publish the batch; what beat sends."""
    state = monthly_import().delay().state
    record("skipped" if state == "REVOKED" else "batch", self.request.id)


@shared_task
def empty_table() -> None:
    """Delete all flights."""
    with database.connect().begin() as connection:
        connection.execute(delete(flights))


@shared_task(bind=True)
def import_month(self: Any, month: int, path: str | None = None) -> int:
    """Insert the flights of one month and return their number."""
    rows = 0
    with recorded_run(self.request.id, name=f"month {month}", group=self.request.root_id):
        for chunk in csv_import.chunks(Path(path) if path else csv_import.flights_file()):
            of_month = chunk[chunk["month"] == month]
            with database.connect().begin() as connection:
                of_month.to_sql(flights.name, connection, if_exists="append", index=False)
            rows += len(of_month)
    return rows


@shared_task(bind=True)
def count_rows(self: Any, rows: list[int]) -> int:
    """Return how many rows all months have."""
    with recorded_run(self.request.id, name="count", group=self.request.root_id):
        return sum(rows)
