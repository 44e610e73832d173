"""Everything: with all on at once each system has seen what ran, whatever became of the processes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from celery_redislock.observing.metrics import ACQUIRED, CONFLICTS, LOST, ORPHANS, Metric
from celery_redislock.observing.prometheus import DIRECTORY
from celery_redislock.observing.statistics import read

from ...support.deadlines import eventually
from ...support.exported import EXPORTED, Exported
from ...support.stores import STORE
from ...support.workers import running_worker
from . import metered_app
from .metered import (
    BOUND,
    Metered,
    a_lock_is_lost,
    a_run_comes_again,
    a_run_waits,
    conflicts_are_met,
    last_numbers,
    runs_are_merged,
    runs_end,
    states,
)

APP = "tests.stories.observing.everything_app"
PROCESSES = 4
KILLED = 2


@pytest.fixture
def store(metered_store: str) -> str:
    """Give the address of the server, without the statistics of other tests."""
    with redis.Redis.from_url(f"{metered_store}/0") as locks:
        locks.flushdb()
    return metered_store


@contextmanager
def lock_events() -> Iterator[Callable[[], Counter[str]]]:
    """Give what counts, by their types, the events of locks that monitors have been sent since."""
    seen: Counter[str] = Counter()
    with metered_app.app.connection_for_read() as connection:
        receiver = metered_app.app.events.Receiver(connection)
        receiver.handlers["*"] = lambda event: seen.update([event["type"]])
        with receiver.consumer_context() as (connection, *_):

            def drain() -> Counter[str]:
                try:
                    while True:
                        connection.drain_events(timeout=0.2)
                except TimeoutError:
                    return Counter(
                        {type_: count for type_, count in seen.items() if type_.startswith("lock-")}
                    )

            # It listens from the first time on.
            drain()
            yield drain


def test_each_system_has_seen_what_ran(store: str, tmp_path: Path) -> None:
    exported = Exported(tmp_path / "exported")
    directory = tmp_path / "counted"
    directory.mkdir()
    env = {STORE: store, DIRECTORY: str(directory), EXPORTED: str(exported.path)}
    with lock_events() as events:
        with running_worker(APP, env=env, concurrency=PROCESSES, args=("-E",)) as worker:
            it = Metered(worker, store)
            children_are_killed_once_all_is_sent(it, exported, events)
            runs_end(it)
            conflicts_are_met(it)
            a_run_comes_again(it)
            runs_are_merged(it)
            a_run_waits(it)
            a_lock_is_lost(it)
            it.is_counted()
            recycled = len([*directory.glob("counter_*.db")])
            assert recycled > PROCESSES + 1 + KILLED, "some children should have ended after three tasks"

        assert last_numbers(exported) == counters_but(it, ORPHANS), (
            "the parent is not set up for OpenTelemetry"
        )
        assert events() == events_of(it)
    assert counted_in_redis(it) == counters_but(it)
    assert spans_of(exported) == conflicts_that_are_met(it) + total(it, "acquired_total", "waited")


def children_are_killed_once_all_is_sent(
    it: Metered, exported: Exported, events: Callable[[], Counter[str]]
) -> None:
    """A child that is killed takes with it what it has not sent: the statistics of its last half minute."""
    it.expect_runs("returns", KILLED, died=KILLED)
    it.expect(KILLED, "orphans_total", "parent", "returns")
    keys = [f"d{number}" for number in range(KILLED)]
    killed = [metered_app.returns.delay(key, "wait_and_die") for key in keys]
    acquired = ("redislock_acquired_total", "at_once", "returns")
    eventually(lambda: last_numbers(exported).get(acquired) == KILLED, BOUND, "it should be exported")
    eventually(lambda: events()["lock-acquired"] == KILLED, BOUND, "it should be sent")
    for key in keys:
        it.journal.open(key)
    assert states(killed) == ["FAILURE"] * KILLED


def total(it: Metered, name: str, *words: str) -> int:
    """Return how many of the expected have this name and these values of labels."""
    return sum(
        int(count)
        for key, count in it.expected.items()
        if key[0] == f"redislock_{name}" and {*words} <= {*key}
    )


def counters_but(it: Metered, *left_out: Metric) -> dict[tuple[str, ...], float]:
    """Return what is expected of the counters."""
    names = {metric.name for metric in (ACQUIRED, CONFLICTS, LOST, ORPHANS) if metric not in left_out}
    return {key: count for key, count in it.expected.items() if key[0] in names}


def events_of(it: Metered) -> dict[str, int]:
    """Return what is expected of Celery's events."""
    return {
        "lock-acquired": total(it, "acquired_total"),
        "lock-released": total(it, "hold_seconds_count"),
        "lock-conflict": total(it, "conflicts_total"),
        "lock-waiting": total(it, "acquired_total", "waited"),
        "lock-lost": total(it, "lost_total"),
        "lock-orphaned": total(it, "orphans_total"),
    }


def counted_in_redis(it: Metered) -> dict[tuple[str, ...], float]:
    """Return what the statistics say of what is expected; what the killed had counted is added."""
    kinds = {ACQUIRED.name: "acquired", LOST.name: "lost", ORPHANS.name: "orphans"}
    found = read(metered_app.app)
    counted: dict[tuple[str, ...], float] = {}
    for key in counters_but(it):
        name, *words, task = key
        if name == CONFLICTS.name:
            action, shadow = words
            counted[key] = found.task(task).count("shadow" if shadow == "true" else "conflicts", action)
        else:
            counted[key] = found.task(task).count(kinds[name], *words)
    counted["redislock_acquired_total", "at_once", "returns"] += KILLED
    return counted


def conflicts_that_are_met(it: Metered) -> int:
    """Return how many calls have met a busy lock: a superseded one has met it before."""
    return total(it, "conflicts_total") - total(it, "conflicts_total", "superseded")


def spans_of(exported: Exported) -> int:
    """Return how many waits and conflicts were traced."""
    return len([span for span in exported.told("span") if span["name"] == "redislock.acquire"])
