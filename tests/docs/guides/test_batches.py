"""A batch: no task of a second one runs between two of the first."""

from __future__ import annotations

from pathlib import Path

from ...support.deadlines import eventually
from ...support.servers import Server
from .guide import followed

WITH_A_POLICY = """
import json
from celery_redislock import LockBusy, locked_batch
from months import count, empty_table, load

def batch(policy):
    canvas = empty_table.si() | load.si(1) | count.si(None)
    return locked_batch(canvas, lock_key="year", lock_on_conflict=policy)

first = batch("skip").delay()
refused = False
try:
    batch("fail").delay()
except LockBusy:
    refused = True
later = [batch("coalesce").delay() for _ in range(3)]
for result in later:
    result.get(timeout=60, propagate=False)
print(json.dumps([first.get(timeout=60), refused, [result.state for result in later]]))
"""
AS_A_PART = """
import json
from celery import chain
from celery_redislock import RedislockError
from months import count, whole_year
try:
    chain(count.si(None), whole_year()).delay()
except RedislockError as error:
    print(json.dumps(str(error)))
"""


def test_a_second_batch_is_skipped_refused_or_runs_later(own_server: Server, tmp_path: Path) -> None:
    with followed("batches.md", own_server, tmp_path) as reader:
        eventually(lambda: reader.log("batch").strip() == "12", 60, "the third batch should end")

        first, was_refused, later = reader.python(WITH_A_POLICY)
        assert (first, was_refused) == (1, True)
        assert later == ["REVOKED", "REVOKED", "SUCCESS"]

        assert "batch" in reader.python(AS_A_PART)
