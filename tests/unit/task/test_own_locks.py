"""Own locks: what the runs of a task share is made once, and says of each run what is true of it."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from celery import Celery

from celery_redislock import Holder
from celery_redislock.config.call import Call
from celery_redislock.holder import holder_metadata
from celery_redislock.messages.headers import PENDING_HEADER, pending_value
from celery_redislock.task.own_locks import OwnLocks, own_locks_of

from ...support.applications import locked


class Observer:
    """Hears of nothing."""

    def report_lost(self, lock: Any) -> None: ...

    def log_facts(self) -> dict[str, str]:
        return {}

    def report_waiting(self, lock: Any, holder: Any) -> None: ...

    def report_stop_wanted(self, lock: Any) -> None: ...


def call_of(task: Any) -> Call:
    return Call(task, task.plan_for(), (), {}, "an id")


def shown(task: Any, **facts: Any) -> Holder | None:
    """Take the lock of a run, and return what it shows of itself."""
    observer, request = Observer(), SimpleNamespace(**{"headers": {}, **facts})
    lock = locks_of(task).lock_of(call_of(task), request, observer, "")
    assert lock.acquire()
    try:
        return lock.holder()
    finally:
        lock.release()


def locks_of(task: Any) -> OwnLocks:
    return own_locks_of(call_of(task))


@pytest.mark.parametrize("task_id", ["an id", 'with "quotes"', "with \\ and \u00fc\u2028", ""])
def test_a_run_shows_its_task_and_id_its_host_and_pid(app: Celery, task_id: str) -> None:
    task = locked(app, lambda: None, name='the "task"')

    holder = shown(task, id=task_id)

    assert holder is not None
    assert list(holder.metadata.items()) == list(holder_metadata(task.name, task_id).items())


def test_a_pending_run_also_shows_when_its_trigger_came(app: Celery) -> None:
    task = locked(app, lambda: None, name="t")

    holder = shown(task, id="an id", headers={PENDING_HEADER: pending_value(1_000_000)})

    assert holder is not None
    assert holder.metadata["triggered"].startswith("1970-01-01T00:00:01")


# Eventlet, and Python from 3.12 on, warn of any fork: other tests have loaded the one, and have threads.
@pytest.mark.filterwarnings(
    "ignore:Using fork", "ignore:This process", "ignore::pytest.PytestUnraisableExceptionWarning"
)
def test_the_child_of_a_fork_shows_its_own_pid(app: Celery) -> None:
    task = locked(app, lambda: None, name="t")
    locks, call, observer = locks_of(task), call_of(task), Observer()
    request = SimpleNamespace(id="an id", headers={})
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:  # no assertion here: the child ends at once, whatever happens
        os.write(writing, locks.lock_of(call, request, observer, "")._metadata.encode())
        os._exit(0)
    os.waitpid(pid, 0)
    os.close(writing)

    assert f'"pid":"{pid}"' in os.read(reading, 500).decode()
    assert f'"pid":"{os.getpid()}"' in locks.lock_of(call, request, observer, "")._metadata
    os.close(reading)


def test_all_runs_share_them_until_the_settings_change(app: Celery, client: redis.Redis) -> None:
    task = locked(app, lambda: None, name="t")
    locks = locks_of(task)

    assert locks_of(task) is locks
    app.conf.redislock_ttl = 7
    assert locks_of(task) is not locks
    observer = Observer()
    lock = locks_of(task).lock_of(call_of(task), SimpleNamespace(id="an id", headers={}), observer, "")
    assert lock.acquire()
    assert 6 < client.pttl("redislock:t") / 1000 <= 7
    assert lock.release()
