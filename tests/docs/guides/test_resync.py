"""Resync: many changes make two runs, and the last change is seen; the newest rendering replaces the old."""

from __future__ import annotations

from pathlib import Path

import pytest

from ...support.servers import Server
from .guide import followed

WITH_A_COUNTDOWN = """
import json, time
from search_less import reindex_less
began = time.time()
results = [reindex_less.apply_async(countdown=3) for _ in range(5)]
results[0].get(timeout=60)
print(json.dumps([len({result.id for result in results}), time.time() - began]))
"""
LESS = """
import json, time
from search import INDEX, SOURCE
from search_less import reindex_less
for version in range(1, 11):
    SOURCE.write_text(f"settled {version}")
    reindex_less.delay()
while INDEX.read_text() != "settled 10":
    time.sleep(0.1)
print(json.dumps(INDEX.read_text()))
"""
AT_MOST_ONE_IN_FIVE_SECONDS = """
import json, time
from search import reindex
options = {"min_hold": 5}
began = time.time()
first = reindex.apply_async(lock=options)
while not reindex.lock_for().locked():
    time.sleep(0.05)
second = reindex.apply_async(lock=options)
first.get(timeout=30), second.get(timeout=30)
print(json.dumps(time.time() - began))
"""


@pytest.mark.timeout(240)
def test_changes_are_merged_and_none_is_missed(own_server: Server, tmp_path: Path) -> None:
    with followed("resync.md", own_server, tmp_path) as reader:
        reader.python(LESS)
        received = [line for line in reader.log("renderer").splitlines() if line.endswith("] received")]
        assert len([line for line in received if "search.reindex_less" in line]) <= 2
        runs, took = reader.python(WITH_A_COUNTDOWN)
        assert runs == 1
        assert took >= 3 + 3
        # The first began at 0 and kept the lock for 5 s; the second takes three more.
        assert reader.python(AT_MOST_ONE_IN_FIVE_SECONDS) >= 5 + 3
