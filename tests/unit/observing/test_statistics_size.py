"""Size: what a thousand tasks take in Redis, with every number that there is."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import redis

from celery_redislock.events import LOSS_REASONS
from celery_redislock.observing.counting import seconds_of
from celery_redislock.observing.statistics_record import StatisticsRecord, of_task
from celery_redislock.observing.tally_sheet import Sheet

TASKS = 1000
#: Bytes.
BUDGET = 20 * 1024 * 1024

WORDS = {
    "acquired": ("at_once", "waited"),
    "conflicts": ("skip", "retry", "fail", "coalesce", "superseded", "replace", "put_off", "not_published"),
    "shadow": ("skip", "retry"),
    "lost": LOSS_REASONS,
    "orphans": ("parent", "lease"),
    "runs": ("locked",),
}
TIMES = ("wait", "hold", "run", "queue")
#: Buckets in which the times of one task lie: from a second to a minute and a half, say.
BUCKETS = range(40, 60)


def full_sheet() -> Sheet:
    """Return the numbers of an hour in which everything has happened to each task."""
    sheet = Sheet()
    for number in range(TASKS):
        owner = of_task(f"shop.warehouse.tasks.import_csv_number_{number:04}")
        for kind, words in WORDS.items():
            for word in words:
                sheet.add(owner, kind, word, 12345)
    return sheet


def times_sheet(kind: str) -> Sheet:
    """Return the lengths of time of a day, of one kind."""
    sheet = Sheet()
    for number in range(TASKS):
        owner = of_task(f"shop.warehouse.tasks.import_csv_number_{number:04}")
        for bucket in BUCKETS:
            sheet.add_time(owner, kind, seconds_of(bucket))
    return sheet


@pytest.mark.parametrize(
    "sheets",
    [lambda: [full_sheet()], lambda: [times_sheet(kind) for kind in TIMES]],
    ids=["counts of an hour", "lengths of time of a day"],
)
def test_a_thousand_tasks_fit_into_twenty_megabytes(
    sheets: Callable[[], list[Sheet]], client: redis.Redis, record_property: Callable[[str, object], None]
) -> None:
    record = StatisticsRecord(client, "redislock:")
    for sheet in sheets():
        while not sheet.is_empty:
            batch = sheet.next_batch()
            record.add(batch)
            sheet.is_written(batch)

    hashes = [key for key in client.keys("redislock.stats:*") if client.type(key) == b"hash"]
    (key,) = [key for key in hashes if client.hlen(key)]
    size = client.memory_usage(key, samples=0)

    record_property("bytes", size)
    print(f"{client.hlen(key)} numbers, {size:,} bytes")
    assert client.hlen(key) >= TASKS * 20
    assert size is not None
    assert size < BUDGET
