"""View: what people and programs are shown of a lock."""

from __future__ import annotations

import json
from datetime import datetime, timezone

from celery_redislock import Holder
from celery_redislock.engine import Inspection
from celery_redislock.operations.rendering import HEADINGS, LockView

KEY = "redislock:flights"
METADATA = {"task": "load", "id": "an-id", "host": "here", "pid": "7"}
HOLDER = Holder(METADATA, datetime(2026, 11, 22, 12, tzinfo=timezone.utc), 12.34, 42)
HELD = Inspection(KEY, HOLDER, waiters=3, is_kept=False)


def test_a_row_stands_below_its_headings() -> None:
    row = LockView.of(HELD).row()

    for heading, value in {"id": "an-id", "host": "here", "task": "load", "lock": KEY}.items():
        assert row[HEADINGS.index(f" {heading}") + 1 :].split()[0] == value
    assert row.endswith(f" {KEY}")
    assert "12.3 s" in row
    assert "2026-11-22T12:00:00+00:00" in row


def test_of_a_holder_that_says_nothing_the_rest_is_shown() -> None:
    view = LockView.of(Inspection(KEY, Holder(lease_left=None), waiters=0, is_kept=False))

    assert view.row().split()[0] == "-"
    assert "for ever" in view.text()


def test_a_text_says_all_that_is_known() -> None:
    members = [
        {"task": "load", "id": "one", "state": "runs", "host": "there", "pid": "8"},
        {"task": "report", "state": "waits"},
    ]
    lines = LockView(KEY, HELD, members, Holder({"id": "waiting"})).text().splitlines()

    assert lines[0] == f"{KEY}: held"
    assert "  fencing token  42" in lines
    assert "  waiters        3" in lines
    assert lines[-3:] == [
        "  in flight      load[one] runs on there, pid 8",
        "  in flight      report[-] waits",
        f"{KEY}: published and not begun: id waiting",
    ]


def test_a_lock_that_is_free_says_who_waits_for_its_run() -> None:
    view = LockView(KEY, None, waiting=Holder({"id": "waiting"}))

    assert view.text() == f"{KEY}: free\n{KEY}: published and not begun: id waiting"
    assert view.as_dict() == {"name": KEY, "held": False, "waiting_to_begin": "waiting"}


def test_an_object_is_json_and_has_no_more_than_is_known() -> None:
    known = json.loads(json.dumps(LockView.of(HELD).as_dict()))

    assert known == {
        "name": KEY,
        "held": True,
        "kept": False,
        "waiters": 3,
        "metadata": METADATA,
        "since": "2026-11-22T12:00:00+00:00",
        "lease_left": 12.34,
        "fencing_token": 42,
    }


def test_an_object_of_a_batch_has_its_members() -> None:
    assert LockView(KEY, HELD, [{"state": "waits"}]).as_dict()["members"] == [{"state": "waits"}]
