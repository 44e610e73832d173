"""Sentry: with its own integration alone each failure before the body is one event, a skip is none."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from celery.exceptions import TaskRevokedError

from celery_redislock import LockBusy, LockKeyError, StoreUnavailable, locked_batch
from celery_redislock.batch.launch import START_BATCH

from ...support.deadlines import eventually
from ...support.exported import EXPORTED, Exported
from ...support.places import ROOT
from ...support.servers import Server
from ...support.workers import running_worker

_numbers = count(1)


class Sentry:
    """The application, its worker, and what Sentry was told of it."""

    def __init__(self, app: Any, env: dict[str, str], locks: Server) -> None:
        self.app = app
        self.locks = locks
        self._env = env
        self.told = Exported(Path(env[EXPORTED])).told

    def events_of(self, result: Any) -> list[str]:
        """Return the names of the errors that were told of a run, once all of it must have been told."""
        self.pass_a_marker()
        return [
            event["exception"]["values"][-1]["type"]
            for event in self.told("event")
            if event.get("tags", {}).get("celery_task_id") == result.id
        ]

    def status_of(self, result: Any) -> str:
        """Return the status of the transaction of a run."""
        found = eventually(
            lambda: [
                item["contexts"]["trace"]["status"]
                for item in self.told("transaction")
                if item.get("tags", {}).get("celery_task_id") == result.id
            ]
        )
        assert len(found) == 1
        return str(found[0])

    def pass_a_marker(self) -> None:
        """Run a task that fails: the worker runs one at a time, so what came before it has been told."""
        number = next(_numbers)
        self.app.tasks["fails"].delay(number).get(timeout=20, propagate=False)
        eventually(lambda: any(f"number {number}" in json.dumps(event) for event in self.told("event")))

    def find_the_locks_again(self) -> None:
        """Have this process notice that its connections are cut."""
        with suppress(StoreUnavailable), self.app.tasks["away"].lock_for():
            pass

    def tick(self, task: str, name: str) -> str:
        """Have a beat send an entry, and return the id of the check-in that Sentry's integration opened."""
        before = len(self.told("check_in"))
        beat = [sys.executable, "-m", "tests.stories.monitors.watched", task, name]
        subprocess.run(beat, cwd=ROOT, env={**os.environ, **self._env}, check=True, timeout=60)
        opened = next(item for item in self.told("check_in")[before:] if item["status"] == "in_progress")
        assert opened["monitor_slug"] == name
        return str(opened["check_in_id"])

    def ends_of(self, check_in: str) -> list[str]:
        """Return how a check-in was closed, once it is."""
        return eventually(lambda: self.is_closed(check_in))

    def is_closed(self, check_in: str) -> list[str]:
        """Return how a check-in was closed, if it is by now."""
        return [
            item["status"]
            for item in self.told("check_in")
            if item["check_in_id"] == check_in and item["status"] != "in_progress"
        ]


@pytest.fixture(scope="module")
def sentry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sentry]:
    """Give the application with one worker of one process."""
    envelopes = tmp_path_factory.mktemp("sentry") / "envelopes"
    with Server("redis") as store, Server("redis") as locks, pytest.MonkeyPatch.context() as patch:
        places = {"MONITORED_STORE": store.url, "MONITORED_LOCKS": locks.url}
        for name, value in places.items():
            patch.setenv(name, value)
        app = importlib.import_module("tests.stories.monitors.app").app
        env = {**places, EXPORTED: str(envelopes)}
        with running_worker("tests.stories.monitors.watched", env=env, concurrency=1):
            yield Sentry(app, env, locks)
        app.close()


def test_what_fails_in_the_body_is_one_event(sentry: Sentry) -> None:
    result = sentry.app.tasks["fails"].delay(0)

    assert sentry.events_of(result) == ["ValueError"]
    assert sentry.status_of(result) == "internal_error"


def test_a_call_without_a_name_is_one_event(sentry: Sentry) -> None:
    result = sentry.app.tasks["nameless"].delay({"no": "id"})

    with pytest.raises(LockKeyError):
        result.get(timeout=20)
    assert sentry.events_of(result) == ["LockKeyError"]
    assert sentry.status_of(result) == "internal_error"


def test_a_busy_lock_that_fails_the_run_is_one_event(sentry: Sentry) -> None:
    task = sentry.app.tasks["busy"]
    with task.lock_for():
        result = task.delay()
        with pytest.raises(LockBusy):
            result.get(timeout=20)

    assert sentry.events_of(result) == ["LockBusy"]
    assert sentry.status_of(result) == "internal_error"


def test_a_busy_lock_that_the_body_meets_is_one_event(sentry: Sentry) -> None:
    assert sentry.events_of(sentry.app.tasks["body_meets_busy"].delay()) == ["LockBusy"]


def test_a_batch_that_gives_up_is_one_event(sentry: Sentry) -> None:
    canvas = sentry.app.tasks["skipped"].si()
    with sentry.app.tasks["busy"].lock_for() as lock:
        batch = locked_batch(canvas, lock_key=lock.name.removeprefix("redislock:"), lock_on_conflict="retry")
        with pytest.raises(LockBusy):
            batch.delay().get(timeout=20)

    sentry.pass_a_marker()
    told = [event for event in sentry.told("event") if event["transaction"] == START_BATCH]
    assert [event["exception"]["values"][-1]["type"] for event in told] == ["LockBusy"]


def test_a_busy_lock_that_is_declared_as_expected_is_none(sentry: Sentry) -> None:
    with sentry.app.tasks["busy"].lock_for():
        result = sentry.app.tasks["busy_as_expected"].delay()
        with pytest.raises(LockBusy):
            result.get(timeout=20)

    assert sentry.events_of(result) == []


def test_a_redis_that_is_away_is_one_event(sentry: Sentry) -> None:
    sentry.locks.kill()
    try:
        result = sentry.app.tasks["away"].delay()
        with pytest.raises(StoreUnavailable):
            result.get(timeout=20)
    finally:
        sentry.locks.start()
        sentry.find_the_locks_again()

    assert sentry.events_of(result) == ["StoreUnavailable"]
    assert sentry.status_of(result) == "internal_error"


def test_a_skip_is_no_event(sentry: Sentry) -> None:
    task = sentry.app.tasks["skipped"]
    with task.lock_for():
        result = task.delay()
        with pytest.raises(TaskRevokedError):
            result.get(timeout=20)

    assert sentry.events_of(result) == []
    assert sentry.status_of(result) == "aborted"


def test_a_tick_that_runs_closes_its_check_in(sentry: Sentry) -> None:
    assert sentry.ends_of(sentry.tick("skipped", "runs")) == ["ok"]


def test_a_tick_that_is_skipped_closes_its_check_in(sentry: Sentry) -> None:
    with sentry.app.tasks["skipped"].lock_for():
        assert sentry.ends_of(sentry.tick("skipped", "is skipped")) == ["ok"]


def test_a_tick_that_fails_before_its_body_closes_its_check_in_as_failed(sentry: Sentry) -> None:
    with sentry.app.tasks["busy"].lock_for():
        assert sentry.ends_of(sentry.tick("busy", "fails")) == ["error"]


def test_a_tick_that_is_not_published_closes_its_check_in(sentry: Sentry) -> None:
    with sentry.app.tasks["once"].lock_for():
        assert sentry.ends_of(sentry.tick("once", "is not published")) == ["ok"]


def test_a_tick_that_comes_again_closes_its_check_in_when_it_has_run(sentry: Sentry) -> None:
    with sentry.app.tasks["put_off"].lock_for():
        tick = sentry.tick("put_off", "comes again")
        sentry.pass_a_marker()
        assert not sentry.is_closed(tick)
    assert sentry.ends_of(tick) == ["ok"]


def test_of_ticks_of_which_one_runs_for_all_each_closes_its_check_in(sentry: Sentry) -> None:
    with sentry.app.tasks["coalesced"].lock_for():
        ticks = [sentry.tick("coalesced", "is superseded"), sentry.tick("coalesced", "runs for all")]
        sentry.pass_a_marker()
        assert not any(map(sentry.is_closed, ticks))
    assert [sentry.ends_of(tick) for tick in ticks] == [["ok"], ["ok"]]
