"""gevent and eventlet: the guide is followed with each, and what it says of its tasks holds in both."""

from __future__ import annotations

from pathlib import Path

import pytest
from celery import Celery
from celery.exceptions import TaskRevokedError, TimeLimitExceeded

from ...support.deadlines import eventually
from ...support.servers import Server
from ...support.versions import not_with_5_4
from ...support.workers import running_worker
from .guide import followed

PAGE = "gevent.md"

CHILDREN = """
import json
from crawl import check
print(json.dumps(check.delay("a.org").get(timeout=60)))
"""

UNLOCKED = """
import json, time
from crawl import fetch
results = [fetch.apply_async(["d.org", f"/{page}"], lock={"mode": "off"}) for page in range(10)]
pages = sorted((result.get(timeout=60) for result in results), key=lambda page: page["began"])
print(json.dumps(sum(first["ended"] > second["began"] for first, second in zip(pages, pages[1:]))))
"""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("pool", ["gevent", "eventlet"])
def test_one_request_at_a_time_reaches_each_host(pool: str, own_server: Server, tmp_path: Path) -> None:
    pytest.importorskip(pool)
    with followed(PAGE, own_server, tmp_path, places={"-P gevent": f"-P {pool}"}) as reader:
        assert f"concurrency: 100 ({pool})" in reader.log("worker")
        assert reader.python(UNLOCKED) > 0, "without the lock they overlap"
        if pool == "gevent":  # the page's `check` spawns greenlets of gevent
            assert reader.python(CHILDREN) == [0, 1, 2]
        assert "its lease ran out" in reader.log("second")


#: What the page's table says, as far as the tests of each end of a run do not.
TABLE = """
import os, threading, time
from celery import Celery
from celery_redislock import LockLost, current_lock, locked_task

app = Celery("table", broker=os.environ["TABLE_REDIS"], backend=os.environ["TABLE_REDIS"])

def nap(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.1)

@locked_task(app=app, name="limited", soft_time_limit=1)
def limited_softly():
    nap(3)
    return "ran"

@locked_task(app=app, name="limited hard", time_limit=1)
def limited_hard():
    nap(3)
    return "ran"

REPLACE = {"lock_on_conflict": "replace", "lock_replace_after": 1}

@locked_task(app=app, name="stubborn", lock_args=(), lock_ttl=3, **REPLACE)
def stubborn(seconds):
    try:
        nap(seconds)
    except LockLost:
        nap(seconds)
    return "ran"

@locked_task(app=app, name="sleeper", lock_args=["key"], lock_ttl=2)
def sleeper(key):
    time.sleep(2)

@locked_task(app=app, name="elsewhere")
def elsewhere():
    said = []
    def look():
        try:
            current_lock().ensure_held()
        except LockLost as error:
            said.append(error.name)
    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    return said

@app.task(name="compute")
def compute(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
"""


@pytest.mark.timeout(200)
@pytest.mark.parametrize(
    "pool",
    [pytest.param("gevent", marks=not_with_5_4("its pool of gevent cannot terminate a task")), "eventlet"],
)
def test_what_differs_from_prefork(pool: str, own_server: Server, tmp_path: Path) -> None:
    pytest.importorskip(pool)
    (tmp_path / "table.py").write_text(TABLE)
    app = Celery(broker=own_server.url, backend=own_server.url, set_as_current=False)
    env = {"TABLE_REDIS": own_server.url}

    def is_held(pattern: str) -> bool:
        return bool(client.keys(pattern))

    with (
        own_server.client() as client,
        running_worker("table", env=env, pool=pool, concurrency=10, cwd=tmp_path) as worker,
    ):
        softly, hard = app.send_task("limited"), app.send_task("limited hard")
        replaced = app.send_task("stubborn", [60])
        eventually(lambda: is_held("redislock:stubborn"), 30)
        newer = app.send_task("stubborn", [0])

        assert newer.get(timeout=30) == "ran", "the one that did not stop was terminated"
        assert app.send_task("elsewhere").get(timeout=30) == ["(unknown)"]
        assert softly.get(timeout=30) == "ran"
        with pytest.raises(TaskRevokedError):
            replaced.get(timeout=30)
        if pool == "gevent":
            with pytest.raises(TimeLimitExceeded):
                hard.get(timeout=30)
        else:
            assert hard.get(timeout=30) == "ran"

        sleeper = app.send_task("sleeper", ["a"])
        eventually(lambda: is_held("redislock:sleeper:*"), 30)
        app.send_task("compute", [5]).get(timeout=60)
        sleeper.get(timeout=30, propagate=False)
        worker.wait_for_log("is lost: its lease ran out")
    app.close()
