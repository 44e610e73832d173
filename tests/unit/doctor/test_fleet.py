"""Fleet: workers that do not agree with each other, or with the server."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from celery.concurrency import ALIASES

from celery_redislock.doctor.live import Live
from celery_redislock.doctor.rule import HISTORY, LIVE, CannotLook
from celery_redislock.doctor.workers import COMMAND, Clock, Worker
from celery_redislock.observing.statistics import EntryNumbers
from celery_redislock.worker import control

from .histories import history
from .looking import configured, found_by, task_of

EXACT = Clock(0.0, 0.0)
SAME = {"app": "app", "version": "1", "server": "redis://a/0", "prefix": "p:", "tasks": {"t": {"ttl": 5}}}


def fleet(*settings: dict[str, Any], clocks: tuple[Clock, ...] = (), server: Clock = EXACT) -> Any:
    """Return what runs now: these workers, each with what it says of itself."""
    given = clocks or [EXACT] * len(settings)
    workers = [
        Worker(f"w{number}@host", each, clock)
        for number, (each, clock) in enumerate(zip(settings, given, strict=True), 1)
    ]
    return SimpleNamespace(workers=tuple(workers), clock=server)


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"version": "2"}, "the version of celery_redislock: 1 (w1@host); 2 (w2@host)"),
        ({"server": "redis://b/0"}, "the server of the locks: redis://a/0 (w1@host); redis://b/0 (w2@host)"),
        ({"prefix": "q:"}, "the prefix: p: (w1@host); q: (w2@host)"),
        ({"tasks": {"t": {"ttl": 9}}}, "the lock options of t: lock_ttl=5 (w1@host); lock_ttl=9 (w2@host)"),
        ({"tasks": {"t": {}}}, "the lock options of t: lock_ttl=5 (w1@host); the defaults (w2@host)"),
    ],
    ids=str,
)
def test_workers_that_differ_are_found(other: dict[str, Any], told: str) -> None:
    (found,) = found_by("RL301", fleet(SAME, {**SAME, **other}), LIVE)

    assert found.message.startswith(f"workers differ in {told}")


def test_workers_that_agree_are_left_alone_also_where_each_has_its_own_tasks() -> None:
    others = {**SAME, "tasks": {"u": {"ttl": 9}}}

    assert not found_by("RL301", fleet(SAME, SAME, others), LIVE)
    assert not found_by("RL301", fleet(SAME), LIVE)


@pytest.mark.parametrize(
    ("clock", "server", "told"),
    [
        (Clock(3.0, 0.1), EXACT, "3.0 s ahead of"),
        (Clock(-3.0, 0.1), EXACT, "3.0 s behind"),
        (Clock(0.0, 0.0), Clock(2.0, 0.0), "2.0 s behind"),
        (Clock(0.9, 0.0), EXACT, ""),
        (Clock(1.4, 0.5), EXACT, ""),
        (Clock(1.4, 0.0), Clock(0.0, 0.5), ""),
        (Clock(5.0, 0.0), Clock(5.0, 0.0), ""),
    ],
)
def test_a_clock_that_is_off_is_found_and_what_cannot_be_measured_is_allowed(
    clock: Clock, server: Clock, told: str
) -> None:
    found = found_by("RL207", fleet(SAME, clocks=(clock,), server=server), LIVE)

    assert len(found) == bool(told)
    assert all(f"clock of worker w1@host is {told}" in each.message for each in found)


def test_the_clock_of_the_server_on_this_machine_is_ours(app: Celery) -> None:
    clock = Live(configured(app)).clock

    assert abs(clock.ahead_s) <= clock.within_s + 0.01


def test_without_a_worker_it_cannot_be_looked(app: Celery) -> None:
    with pytest.raises(CannotLook, match="no worker has answered"):
        found_by("RL301", Live(configured(app)), LIVE)


def test_only_workers_of_the_same_app_are_compared(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    def broadcast(command: str, callback: Any, **_: Any) -> None:
        assert command == COMMAND
        callback({"b@host": {**SAME, "app": app.main, "clock": 0.0}})
        callback({"a@host": {**SAME, "app": app.main, "clock": 0.0}})
        callback({"c@host": {**SAME, "app": "another", "clock": 0.0}})
        callback({"d@host": {"error": "it knows no such command"}})

    monkeypatch.setattr(app.control, "broadcast", broadcast)

    assert [worker.name for worker in Live(configured(app)).workers] == ["a@host", "b@host"]


def test_a_broker_that_is_away_is_said(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    def broadcast(*_: Any, **__: Any) -> None:
        raise ConnectionError

    monkeypatch.setattr(app.control, "broadcast", broadcast)

    with pytest.raises(CannotLook, match=r"the broker cannot be reached \(ConnectionError\)"):
        found_by("RL207", Live(configured(app)), LIVE)


def test_a_worker_says_what_differs_from_the_defaults_and_no_password(app: Celery) -> None:
    def key(path: str) -> str:
        return path

    task_of(app, "a", lock_ttl=5, lock_retry_delay=(2, 9), lock_on_conflict="retry", lock_max_hold=60)
    task_of(app, "b")
    task_of(app, "c", lock_mode="off", lock_key=key)
    app.conf.redislock_url = "redis://user:secret-word@somewhere/0"

    pool = SimpleNamespace(info={"processes": [7, 8]})
    said = control.lock_settings(SimpleNamespace(app=app, consumer=SimpleNamespace(pool=pool)))

    assert said["tasks"] == {
        "a": {"ttl": 5.0, "retry_delay": [2.0, 9.0], "on_conflict": "retry", "max_hold": 60.0},
        "b": {},
        "c": {"mode": "off", "key": f"{__name__}.{key.__qualname__}"},
    }
    assert (said["app"], said["prefix"], said["server"]) == (
        "app",
        "redislock:",
        "redis://user:***@somewhere/0",
    )
    assert said["processes"] == [7, 8]
    assert "secret-word" not in str(said)


@pytest.mark.parametrize("info", [{}, {"processes": None}, {"max-concurrency": 4}], ids=str)
def test_a_pool_whose_process_runs_several_tasks_names_none(app: Celery, info: dict[str, Any]) -> None:
    pool = SimpleNamespace(info=info)

    said = control.lock_settings(SimpleNamespace(app=app, consumer=SimpleNamespace(pool=pool)))

    assert said["processes"] == []


@pytest.mark.parametrize("pool", ["prefork", "solo", "gevent", "eventlet"])
def test_a_worker_says_what_its_pool_is_called_on_the_command_line(app: Celery, pool: str) -> None:
    of_celery = type("TaskPool", (), {"__module__": ALIASES[pool].partition(":")[0]})()

    said = control.lock_settings(SimpleNamespace(app=app, consumer=SimpleNamespace(pool=of_celery)))

    assert said["pool"] == pool


@pytest.mark.parametrize(
    ("ahead_s", "told"), [(3.2, "3.2 s ahead of"), (-3.2, "3.2 s behind"), (0.9, ""), (-0.9, ""), (0.0, "")]
)
def test_a_beat_whose_clock_is_off_is_found(app: Celery, ahead_s: float, told: str) -> None:
    entries = {"nightly": EntryNumbers(ahead_s=ahead_s), "sound": EntryNumbers(ahead_s=0.1)}

    found = found_by("RL207", history(app, entries=entries), HISTORY)

    assert len(found) == bool(told)
    assert all(f"beat that sent 'nightly' last was {told}" in each.message for each in found)
