"""Start and end: a worker refuses wrong settings, goes on without Redis, and lets its tasks end."""

from __future__ import annotations

import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from ...support.deadlines import eventually
from ...support.places import ROOT
from ...support.servers import Server
from ...support.stores import STORE
from ...support.workers import running_worker
from . import tasks_app
from .stage import Stage

APP = """
from celery import Celery
from celery_redislock import LockedTask

app = Celery("started", broker={broker!r}, backend={broker!r})
app.conf.update(broker_connection_retry_on_startup=True, **{settings!r})

@app.task(base=LockedTask, name="locked", ignore_result=True{options})
def locked(): ...
"""


def start(directory: Path, store: str, settings: dict[str, object], options: str = "") -> tuple[int, str]:
    """Start a worker that should stop by itself; return its exit code and what it wrote."""
    (directory / "started.py").write_text(APP.format(broker=f"{store}/9", settings=settings, options=options))
    command = [sys.executable, "-m", "celery", "-A", "started", "worker", "-P", "solo"]
    ended = subprocess.run(
        command, cwd=directory, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60
    )
    return ended.returncode, ended.stdout + ended.stderr


WRONG = {
    "scheme": ({"redislock_url": "http://:hunter2@localhost/0"}, "redislock_url"),
    "db": ({"redislock_url": "redis://:hunter2@localhost/first"}, "redislock_url"),
    "port": ({"redislock_url": "redis://:hunter2@localhost:port/0"}, "redislock_url"),
    "nowhere": ({"redislock_url": ""}, "redislock_url"),
    "unknown setting": ({"redislock_tll": 5}, "did you mean 'redislock_ttl'"),
    "wrong value": ({"redislock_ttl": "soon"}, "redislock_ttl"),
}


@pytest.mark.parametrize("fault", WRONG)
def test_a_worker_with_a_wrong_setting_stops_and_names_it(fault: str, store: str, tmp_path: Path) -> None:
    settings, named = WRONG[fault]

    code, output = start(tmp_path, store, settings)

    assert code != 0
    assert named in output
    assert "Error: " in output
    assert "Traceback" not in output
    assert "ready." not in output
    assert "hunter2" not in output


def test_a_worker_with_a_wrong_option_of_a_task_stops_and_names_it(store: str, tmp_path: Path) -> None:
    code, output = start(tmp_path, store, {}, ", lock_tll=5")

    assert code != 0
    assert "did you mean 'lock_ttl'" in output


PLAIN = """
from celery import Celery, signals

app = Celery("plain", broker={broker!r})
app.conf.task_annotations = {{"*": {{"lock_wait": 5}}}}

@app.task(name="plain", lock_args=["a"], lock_ttl=5)
def plain(a): ...

@app.task(name="other", lock_timeout=5)
def other(a): ...

@signals.worker_ready.connect
def stop(sender, **_):
    raise SystemExit
"""


def test_a_worker_warns_of_a_plain_task_with_lock_options(store: str, tmp_path: Path) -> None:
    """Nothing in its program imports the package: the command line knows it."""
    (tmp_path / "plain.py").write_text(PLAIN.format(broker=f"{store}/9"))
    command = [sys.executable, "-m", "celery", "-A", "plain", "worker", "-P", "solo", "-l", "WARNING"]

    ended = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60
    )

    output = ended.stdout + ended.stderr
    assert "Task plain has lock_args, lock_ttl, lock_wait, but is not locked" in output
    assert "Task other has lock_wait, but" in output
    assert "Task celery." not in output
    assert "Task celery_redislock." not in output


OFF = """
import logging

from celery import Celery
from celery.contrib.testing.worker import start_worker

from celery_redislock import locked_task

app = Celery("off", broker="memory://", backend="cache+memory://")
app.conf.redislock_mode = "off"


@locked_task(app=app)
def one(a):
    return a


@locked_task(app=app, lock_scope="task")
def two(a):
    return a


if __name__ == "__main__":
    logging.basicConfig()
    with start_worker(app, pool="solo", perform_ping_check=False, loglevel="WARNING"):
        print(one.delay(1).get(timeout=20), two.delay(2).get(timeout=20), one.apply((3,)).get())
"""


def test_a_worker_whose_locks_are_off_needs_no_redis(tmp_path: Path) -> None:
    """As in users' tests: everything is in memory."""
    (tmp_path / "off.py").write_text(OFF)

    ended = subprocess.run(
        [sys.executable, "off.py"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert ended.stdout == "1 2 3\n", ended.stderr
    assert ended.returncode == 0
    assert "Redis" not in ended.stderr
    assert ended.stderr.count("locks: ") == ended.stderr.count("locks: lock_mode is off for every task") == 1


def test_a_worker_without_redis_for_its_locks_says_so_and_works_when_it_is_back(store: str) -> None:
    with Server("redis", password="hunter2") as server:
        url = server.url
        server.kill()
        with running_worker(
            "tests.stories.run.tasks_app",
            env={STORE: store, "REDISLOCK_TEST_LOCKS": url},
            pool="threads",
            args=("-Q", "elsewhere"),
        ) as worker:
            stage = Stage(tasks_app.app, store, worker, "elsewhere")
            assert "cannot be reached" in worker.log()
            assert f"127.0.0.1:{server.port}" in worker.log()
            assert "redislock_url" in worker.log()
            failed = stage.send(tasks_app.skip, "a", ["give", 1], lock={"on_error": "fail"})
            assert type(failed.get(timeout=20, propagate=False)).__name__ == "StoreUnavailable"

            server.start()

            eventually(lambda: stage.send(tasks_app.skip, "a", ["give", 1]).get(timeout=20) == 1)
            assert "hunter2" not in worker.log()


def test_a_task_keeps_its_lock_through_a_warm_shutdown(store: str) -> None:
    """Its lease is a second: without renewals it would be over long before the body ends."""
    task = tasks_app.short
    with running_worker("tests.stories.run.tasks_app", env={STORE: store}, args=("-Q", "closing")) as worker:
        stage = Stage(tasks_app.app, store, worker, "closing")
        result = stage.hold(task, "a")
        token = stage.locks.get(task.lock_name("a"))
        worker.send_signal(signal.SIGTERM)
        worker.wait_for_log("Warm shutdown")
        left = [stage.locks.pttl(task.lock_name("a"))]

        def renewed() -> bool:
            left.append(stage.locks.pttl(task.lock_name("a")))
            return sum(after > before for before, after in pairwise(left)) >= 4

        eventually(renewed, 10, "the lease should be renewed")
        assert stage.locks.get(task.lock_name("a")) == token
        assert worker.is_running

        stage.journal.open("hold")

        assert worker.wait() == 0
        assert result.get(timeout=10) is None
        assert not stage.locks.exists(task.lock_name("a"))
