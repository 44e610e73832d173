"""Migrations from celery-once and celery-singleton: old and new side by side, with the real packages."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis

from ...support.servers import Server
from .guide import followed

#: Where the other package has its locks: database and pattern, as the page has them.
OLD_LOCKS = {"celery_once": (0, "qo_*"), "celery_singleton": (1, "SINGLETONLOCK_*")}

OLD_PUBLISHER_NEW_WORKER = """
import json
from after import app, build as new_build
from before import build
first = build.delay("bob")
ended = app.AsyncResult(first.id).get(timeout=60)
again = build.delay("bob")
new = new_build.delay("bob")
print(json.dumps([ended, again.id in (None, first.id), new.get(timeout=60)]))
"""
NEW_PUBLISHER_OLD_WORKER = """
import json, time
from after import build
first = build.delay("cid")
while (second := build.delay("cid")).id == first.id:
    time.sleep(0.05)
both = [first.get(timeout=60), second.get(timeout=60)]
third = build.delay("cid")
print(json.dumps([*both, third.get(timeout=60), third.id not in (first.id, second.id)]))
"""
BOTH_IN_ONE_APP = """
from before import app
from celery_redislock import locked_task


@locked_task(app=app, name="reports.send", lock_scope="task")
def send(customer):
    return f"sent to {customer}"
"""
BOTH_ARE_CALLED = """
import json
from both import app, send
build = app.tasks["reports.build"]
print(json.dumps([build.delay("dan").get(timeout=60), send.delay("dan").get(timeout=60)]))
"""


@pytest.mark.timeout(240)
@pytest.mark.parametrize("package", OLD_LOCKS)
def test_a_task_can_be_changed_while_old_and_new_run_side_by_side(
    package: str, own_server: Server, tmp_path: Path
) -> None:
    with followed(f"migrate_from_{package}.md", own_server, tmp_path) as reader:
        # Workers first: an old publisher goes on refusing what it has published, a new one does not.
        assert reader.python(OLD_PUBLISHER_NEW_WORKER) == ["10 pages for bob", True, "10 pages for bob"]
        database, pattern = OLD_LOCKS[package]
        with redis.Redis(port=own_server.port, db=database) as client:
            assert client.keys(pattern)
        reader.stop("worker")

        # Publishers first: an equal call is published while one runs, and no lock stays behind.
        reader.start("old", "celery -A before worker --concurrency 2 --loglevel INFO", " ready.")
        assert reader.python(NEW_PUBLISHER_OLD_WORKER) == ["10 pages for cid"] * 3 + [True]
        reader.stop("old")

        # One task at a time: both packages in one app and one worker.
        (reader.folder / "both.py").write_text(BOTH_IN_ONE_APP)
        reader.start("both", "celery -A both worker --concurrency 2 --loglevel INFO", " ready.")
        assert reader.python(BOTH_ARE_CALLED) == ["10 pages for dan", "sent to dan"]
