"""Migrations from locks of one's own: redis-py's and the cookbook's, side by side with ours."""

from __future__ import annotations

from pathlib import Path

from ...support.servers import Server
from .guide import followed

SIDE_BY_SIDE = """
import json, time
import before, during

def send(task, queue):
    result = task.apply_async(["https://example.org"], queue=queue)
    while not during.import_feed.lock_for("https://example.org").locked():
        time.sleep(0.05)
    return result

running = send(before.import_feed, "old")
second = during.import_feed.apply_async(["https://example.org"], queue="new")
first = [running.get(timeout=60), second.state]
running = send(during.import_feed, "new")
second = before.import_feed.apply_async(["https://example.org"], queue="old")
print(json.dumps([first, [running.get(timeout=60), second.get(timeout=60)]]))
"""
PREFIX = """
import json
import before
print(json.dumps(before.cache.make_key("")))
"""


def test_redis_pys_lock_and_ours_exclude_each_other(own_server: Server, tmp_path: Path) -> None:
    with followed("migrate_from_redis_py.md", own_server, tmp_path) as reader:
        assert "lock:feed:" not in reader.run("celery -A after locks list")


def test_the_cookbooks_lock_and_ours_exclude_each_other(own_server: Server, tmp_path: Path) -> None:
    with followed("migrate_from_the_cookbook.md", own_server, tmp_path) as reader:
        reader.stop("worker")
        reader.start("old", "celery -A before worker -Q old -n old@%h -l INFO", " ready.")
        reader.start("new", "celery -A during worker -Q new -n new@%h -l INFO", " ready.")

        assert reader.python(PREFIX) == ":1:"
        assert reader.python(SIDE_BY_SIDE) == [["imported", "REVOKED"], ["imported", None]]
