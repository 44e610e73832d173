"""Statistics: what is added to the record by many processes is read back as one sum."""

from __future__ import annotations

import json
import time
from datetime import timezone
from typing import Any

import pytest
import redis
from celery import Celery
from redis.crc import key_slot

from celery_redislock import StoreUnavailable
from celery_redislock.observing.counting import bucket_of
from celery_redislock.observing.statistics import LastConflict, Statistics, TaskNumbers, read
from celery_redislock.observing.statistics_record import (
    ALL_LOCKS,
    DAY_S,
    HOUR_S,
    KEPT_S,
    LOOKED,
    MOST_CONFLICTS,
    Batch,
    Key,
    StatisticsRecord,
    of_entry,
    of_task,
)

from ...support.applications import application

TASK = of_task("shop.import_csv")


@pytest.fixture
def record(client: redis.Redis) -> StatisticsRecord:
    """Give the record of the app's locks."""
    return StatisticsRecord(client, "redislock:")


def counts(**numbers: int) -> dict[Key, int]:
    """Return counts of acquired locks by word."""
    return {(TASK, "acquired", word): number for word, number in numbers.items()}


def test_what_several_processes_add_is_one_sum(app: Celery, record: StatisticsRecord) -> None:
    for _ in range(3):
        record.add(Batch(counts(at_once=5, waited=1)))

    task = read(app).tasks["shop.import_csv"]

    assert (task.count("acquired", "at_once"), task.count("acquired", "waited")) == (15, 3)
    assert task.count("acquired") == 18


def test_a_batch_that_is_sent_twice_is_added_once(app: Celery, record: StatisticsRecord) -> None:
    """As after a lost reply: the process cannot know whether Redis has it."""
    batch = Batch(counts(at_once=5), conflicts={"shop.import_csv": ["[]"]})

    for _ in range(2):
        record.add(batch)

    assert read(app).task("shop.import_csv").count("acquired") == 5
    assert record.last_conflicts(["shop.import_csv"]) == {"shop.import_csv": [[]]}


def test_a_week_of_many_tasks_is_read_in_few_round_trips(
    app: Celery, record: StatisticsRecord, client: redis.Redis
) -> None:
    tasks = [f"shop.import_{number}" for number in range(300)]
    for hour in range(168):
        record.add(
            Batch({(of_task(tasks[hour]), "acquired", "at_once"): 1}, at_s=time.time() - hour * HOUR_S)
        )
    for task in tasks:
        numbers = {(of_task(task), "conflicts", "skip"): 1}
        record.add(Batch(numbers, times={(of_task(task), LOOKED, ""): 1}, locks={task: [task]}))
        client.rpush(record._of("conflicts", task), json.dumps([time.time(), task, "id", "", "", "skip"]))
    before = client.info("stats")["total_reads_processed"]

    found = read(app)

    assert client.info("stats")["total_reads_processed"] - before < 100
    assert sum(each.count("acquired") for each in found.tasks.values()) == 168
    assert {each.distinct_locks for each in found.tasks.values()} == {0, 1}
    assert [found.task(each).last_conflicts[0].lock_name for each in tasks] == tasks


def test_the_latest_value_is_that_of_the_last_hour_however_many_numbers_an_hour_has(
    app: Celery, record: StatisticsRecord
) -> None:
    many = {(of_task(f"t{number}"), "acquired", "at_once"): 1 for number in range(3000)}
    now_s = time.time()
    # An old hour takes more steps to be read than a young one.
    record.add(Batch(many, {(TASK, "idle_ms", ""): 1}, at_s=now_s - 2 * HOUR_S))
    record.add(Batch({}, {(TASK, "idle_ms", ""): 2000}, at_s=now_s))

    assert read(app).task("shop.import_csv").idle_s == 2.0


def test_lengths_of_time_come_back_as_percentiles(app: Celery, record: StatisticsRecord) -> None:
    record.add(Batch(times={(TASK, "hold", str(bucket_of(2.0))): 99, (TASK, "hold", str(bucket_of(600))): 1}))

    task = read(app).task("shop.import_csv")

    assert task.percentile("hold", 0.5) == pytest.approx(2.0, rel=0.1)
    assert task.percentile("hold", 1.0) == pytest.approx(600, rel=0.1)
    assert task.percentile("wait", 0.5) is None


def test_only_what_happened_since_then_is_read(app: Celery, record: StatisticsRecord) -> None:
    now_s = time.time()
    record.add(Batch(counts(at_once=1), at_s=now_s))
    record.add(Batch(counts(at_once=10), at_s=now_s - 2 * HOUR_S))
    record.add(Batch(counts(at_once=100), at_s=now_s - 6 * DAY_S))

    task = "shop.import_csv"
    assert read(app, HOUR_S / 10).task(task).count("acquired") in (1, 11)
    assert read(app, DAY_S).task(task).count("acquired") == 11
    assert read(app).task(task).count("acquired") == 111


def test_the_hour_of_the_oldest_number_is_told(app: Celery, record: StatisticsRecord) -> None:
    assert read(app).since is None
    now_s = time.time()
    record.add(Batch(counts(at_once=1), at_s=now_s))
    record.add(Batch(counts(at_once=1), at_s=now_s - DAY_S))

    since = read(app).since

    assert since is not None
    assert since.tzinfo is timezone.utc
    assert since.timestamp() == now_s - DAY_S - (now_s % HOUR_S)


def test_numbers_of_a_process_whose_clock_is_ahead_are_seen(app: Celery, record: StatisticsRecord) -> None:
    record.add(Batch(counts(at_once=1), at_s=time.time() + HOUR_S / 2))

    assert read(app).task("shop.import_csv").count("acquired") == 1


@pytest.mark.parametrize("name", ["a|b", "t:x", "ein Eintrag, täglich", "|", ":"])
def test_any_name_comes_back_as_it_was(name: str, app: Celery, record: StatisticsRecord) -> None:
    record.add(Batch({(of_entry(name), "ticks", "sent"): 2, (of_task(name), "acquired", "at_once"): 3}))

    found = read(app)

    assert found.entries[name].ticks("sent") == found.entries[name].ticks() == 2
    assert found.tasks[name].count("acquired") == 3


def test_the_interval_of_an_entry_is_the_latest_one(app: Celery, record: StatisticsRecord) -> None:
    now_s = time.time()
    for interval_ms, at_s in ((60_000, now_s), (10_000, now_s - 3 * HOUR_S)):
        record.add(Batch(latest={(of_entry("nightly"), "interval_ms", ""): interval_ms}, at_s=at_s))

    assert read(app).entry("nightly").interval_s == 60.0


def test_different_locks_are_counted_once_each(app: Celery, record: StatisticsRecord) -> None:
    for _ in range(2):
        record.add(
            Batch(
                {(TASK, "acquired", "at_once"): 50},
                times={(TASK, LOOKED, ""): 50},
                locks={"shop.import_csv": [f"redislock:{number}" for number in range(50)]},
            )
        )

    assert read(app).task("shop.import_csv").distinct_locks == pytest.approx(50, rel=0.05)


def test_of_a_busy_task_the_different_locks_are_estimated(app: Celery, record: StatisticsRecord) -> None:
    """Not every lock was looked at, but each that was is a different one."""
    record.add(
        Batch(
            {(TASK, "acquired", "at_once"): 1000},
            times={(TASK, LOOKED, ""): 100},
            locks={"shop.import_csv": [f"redislock:{number}" for number in range(100)]},
        )
    )

    assert read(app).task("shop.import_csv").distinct_locks == pytest.approx(1000, rel=0.05)


def test_the_last_conflicts_are_told_newest_first(app: Celery, record: StatisticsRecord) -> None:
    now_s = float(int(time.time()))
    met: list[list[Any]] = [
        [now_s - age_s, "redislock:a", f"call-{age_s}", "holder", "host", "skip"]
        for age_s in range(30, 0, -1)
    ]
    batch = Batch(
        {(TASK, "conflicts", "skip"): 30}, conflicts={"shop.import_csv": [json.dumps(m) for m in met]}
    )
    record.add(batch)

    last = read(app).task("shop.import_csv").last_conflicts

    assert len(last) == MOST_CONFLICTS
    assert [each.task_id for each in last[:2]] == ["call-1", "call-2"]
    assert last[0] == LastConflict(last[0].when, "redislock:a", "call-1", "holder", "host", "skip")
    assert last[0].when.timestamp() == now_s - 1


def test_numbers_of_all_locks_together(app: Celery, record: StatisticsRecord) -> None:
    record.add(
        Batch(
            {
                (ALL_LOCKS, "renewals", "renewed"): 7,
                (ALL_LOCKS, "store_errors", "acquire.TimeoutError"): 2,
                (ALL_LOCKS, "store_errors", "renew.TimeoutError"): 3,
            },
            times={(ALL_LOCKS, "late", "0"): 6, (ALL_LOCKS, "late", str(bucket_of(4.0))): 1},
        )
    )

    engine = read(app).engine

    assert engine.count("renewals", "renewed") == 7
    assert engine.worst_late_s == pytest.approx(4.0, rel=0.1)
    assert engine.store_errors() == 5
    assert engine.store_errors("acquire") == engine.store_errors("acquire", "TimeoutError") == 2
    assert engine.store_errors(error="TimeoutError") == 5


def test_of_what_was_never_seen_there_are_zeros(app: Celery) -> None:
    found = read(app)

    assert found == Statistics()
    assert found.task("unknown") == TaskNumbers()
    assert found.entry("unknown").ticks() == found.engine.worst_late_s == 0


def test_redis_away_is_told() -> None:
    app = application("redis://127.0.0.1:1/0")

    with pytest.raises(StoreUnavailable):
        read(app)
    app.close()


@pytest.mark.parametrize("prefix", ["redislock:", "", "}", "{}x", "a{b}c", "."])
def test_all_keys_of_a_prefix_are_in_one_slot_and_end_by_themselves(client: redis.Redis, prefix: str) -> None:
    batch = Batch(
        counts(at_once=1),
        times={(TASK, "hold", "3"): 1},
        locks={"shop.import_csv": ["redislock:a"]},
        conflicts={"shop.import_csv": ["[]"]},
    )
    StatisticsRecord(client, prefix).add(batch)

    keys = client.keys()

    assert len(keys) == 5
    assert len({key_slot(key) for key in keys}) == 1
    assert all(0 < client.pttl(key) <= KEPT_S * 1000 for key in keys)


def test_two_prefixes_have_numbers_of_their_own(client: redis.Redis) -> None:
    now_s = time.time()
    prefixes = ["", ".", "}", "{", "a", "a:", "}{.}"]
    for number, prefix in enumerate(prefixes):
        StatisticsRecord(client, prefix).add(Batch(counts(at_once=10**number)))

    read_back = [StatisticsRecord(client, prefix).read(now_s, now_s)[0][TASK].counts for prefix in prefixes]

    assert [each["acquired", "at_once"] for each in read_back] == [10**number for number in range(7)]
