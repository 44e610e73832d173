"""Schedule advice: a schedule that skips is told with an interval, and with that one it does not."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from celery_redislock.doctor.configuration import Configuration
from celery_redislock.doctor.finding import Finding
from celery_redislock.doctor.history import History
from celery_redislock.doctor.live import Live
from celery_redislock.doctor.rule import HISTORY
from celery_redislock.doctor.rules import RULES
from celery_redislock.observing.statistics import EntryNumbers, read

from ...support import processes
from ...support.deadlines import eventually
from ...support.places import ROOT, python_path
from ...support.stores import STORE, own_store_of
from ...support.workers import Worker, running_worker
from . import scheduled_app
from .scheduled_app import ENTRY, INTERVAL, RUN_S, app

#: Messages of a schedule that skips, until there are enough to give advice.
MANY = 11
#: Runs of one that does not.
SOME = 4
#: Seconds: starting up, and so many runs, on two busy cores.
WITHIN = 60.0


@pytest.fixture
def store() -> Iterator[str]:
    """Give the address of a server for this test, without a database."""
    with own_store_of(app, scheduled_app.configure) as address:
        yield address


@contextmanager
def beating(store: str) -> Iterator[None]:
    """Run a beat that locks, for the length of a ``with`` block."""
    scheduler = "celery_redislock.beat:LockedScheduler"
    command = [sys.executable, "-m", "celery", "-A", scheduled_app.__name__, "beat", "-S", scheduler]
    env = {**os.environ, "PYTHONPATH": python_path(), STORE: store}
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as output:
        schedule = str(Path(folder) / "schedule")
        beat: subprocess.Popen[bytes] = processes.start(
            [*command, "-s", schedule], output=output, env=env, cwd=ROOT
        )
        try:
            yield
        finally:
            processes.end_group(beat, grace=15)


@contextmanager
def running(store: str) -> Iterator[Worker]:
    """Run the schedule with a beat and a worker, both of which write down their numbers when they end."""
    env = {STORE: store, INTERVAL: os.environ[INTERVAL]}
    with running_worker(scheduled_app.__name__, env=env, concurrency=2) as worker, beating(store):
        yield worker


def counted() -> EntryNumbers:
    """Return what was counted of the entry."""
    return read(app).entry(ENTRY)


def findings() -> list[Finding]:
    """Return what the history says about schedules."""
    seen = History.of(Live(Configuration.of(app)), since_s=3600)
    rules = [rule for rule in RULES if rule.id == "RL112" and rule.layer == HISTORY]
    return [finding for rule in rules for finding in rule.findings(seen)]


def test_the_interval_that_is_advised_skips_no_more(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(INTERVAL, "0.6")
    with running(store) as worker:
        eventually(lambda: worker.log().count(" received") >= MANY, WITHIN, "the schedule should come")
    (found,) = findings()
    before = counted()
    assert before.skipped >= before.begun / 2 > 0
    assert "its runs take too long for an interval of 0.6 s" in found.message
    with redis.Redis.from_url(store) as client:
        client.flushall()

    conf: Any = app.conf
    exec(found.cure, {"app": app})
    advised = conf.beat_schedule[ENTRY]["schedule"]
    assert advised > RUN_S
    monkeypatch.setenv(INTERVAL, str(advised))
    with running(store) as worker:
        eventually(lambda: worker.log().count(" succeeded") >= SOME, WITHIN, "it should come as advised")

    after = counted()
    assert (after.begun >= SOME, after.skipped) == (True, 0)
    assert not findings()
