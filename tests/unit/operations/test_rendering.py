"""View: what people and programs are shown of a lock."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

import click

from celery_redislock import Holder
from celery_redislock.engine import Inspection, WaiterSeen
from celery_redislock.observing.statistics import LastConflict
from celery_redislock.operations.rendering import LockView, table_of
from celery_redislock.operations.usual import Hold

PREFIX = "redislock:"
KEY = f"{PREFIX}flights"
METADATA = {"task": "load", "id": "an-id", "host": "here", "pid": "7"}
SINCE = datetime(2026, 11, 22, 12, tzinfo=timezone.utc)
HOLDER = Holder(METADATA, SINCE, 12.34, 42)
HELD = Inspection(KEY, HOLDER, waiters=3, is_kept=False)
USUALLY = Hold(240.0, 360.0, 400.0)
MET = LastConflict(SINCE, KEY, "late", "an-id", "here", "skip")


def view(
    name: str = "flights", *, held_s: float = 5.0, left_s: float | None = 25.0, **known: Any
) -> LockView:
    """Return a view of a lock that is held for so long now, with so much left of its lease."""
    is_kept = known.pop("is_kept", False)
    seen = Inspection(PREFIX + name, Holder(METADATA, SINCE, left_s, 42), waiters=0, is_kept=is_kept)
    return LockView(seen.name, seen, now=SINCE + timedelta(seconds=held_s), **known)


def rows(*views: LockView, width: int | None = None) -> list[str]:
    return [click.unstyle(line) for line in table_of(views, PREFIX, width)]


def names(*views: LockView) -> list[str]:
    return [line.split()[-1].removeprefix(PREFIX) for line in rows(*views)[1:]]


def test_a_row_stands_below_its_headings() -> None:
    head, row = rows(view(held_s=250, hold=USUALLY))

    shown = {
        "held": "4m 10s",
        "usually": "4-6m",
        "lease left": "25.0 s",
        "task": "load",
        "host/pid": "here/7",
    }
    for heading, text in {**shown, "lock": KEY}.items():
        assert row[head.index(heading) :].startswith(text)


def test_in_a_terminal_names_are_without_what_all_begin_with() -> None:
    head, row = rows(view(), width=100)

    assert head.endswith(f"lock ({PREFIX}...)")
    assert row.endswith("  flights")


def test_a_name_that_would_be_taken_for_another_keeps_its_prefix() -> None:
    assert [row.split()[-1] for row in rows(view("a"), view("redislock:a"), width=100)[1:]] == [
        "a",
        "redislock:redislock:a",
    ]


def test_what_is_in_trouble_comes_first_and_then_the_longest_held() -> None:
    at_ease = [view("short"), view("long", held_s=900), view("kept", held_s=9_000, is_kept=True)]
    hangs = view("hangs", held_s=2_000, hold=USUALLY)
    fading = [view("fading", left_s=14.0, lease_s=30.0), view("endless", left_s=None)]

    assert names(*at_ease) == ["long", "short", "kept"]
    assert [line.split()[-1] for line in rows(*at_ease, hangs, *fading)[1:7]] == [
        PREFIX + name for name in ("endless", "fading", "hangs", "long", "short", "kept")
    ]


def test_trouble_is_marked_and_the_mark_is_explained() -> None:
    hangs, fading = view("hangs", held_s=2_000, hold=USUALLY), view(left_s=14.0, lease_s=30.0)

    assert "33m 20s !" in rows(hangs)[1]
    assert rows(hangs)[2:] == [
        "held !        more than 3 times as long as 99 % of the task's runs: it may hang"
    ]
    assert "14.0 s !" in rows(fading)[1]
    assert rows(fading)[2:] == ["lease left !  it was not renewed when it should have been; or it never ends"]


def test_what_is_at_ease_has_no_mark() -> None:
    at_ease = [
        view(held_s=290, hold=Hold(1.0, 2.0, 3.0)),  # it may be long, but nobody would wait for five minutes
        view(held_s=1_100, hold=USUALLY),
        view(left_s=16.0, lease_s=30.0),
        view(left_s=1.0),  # nobody knows its lock_ttl
        view(left_s=1.0, lease_s=30.0, is_kept=True),
    ]

    assert len(rows(*at_ease)) == 1 + len(at_ease)
    assert not any("!" in row for row in rows(*at_ease))


def test_names_of_others_cannot_steer_the_terminal() -> None:
    seen = Inspection("redislock:\x1b[2J", Holder({"task": "\x1b]0;"}, SINCE, 1.0), waiters=0, is_kept=False)

    assert "\x1b" not in "".join(rows(LockView(seen.name, seen)))
    assert "\x1b" not in LockView(seen.name, seen, waiting=Holder({"id": "\x1b"})).text()


def test_of_a_holder_that_says_nothing_the_rest_is_shown() -> None:
    seen = LockView.of(Inspection(KEY, Holder(lease_left=None), waiters=0, is_kept=False))

    assert rows(seen)[1].split() == ["-", "-", "for", "ever", "!", "0", "-", "-", KEY]
    assert "for ever" in seen.text()


def test_a_text_says_all_that_is_known() -> None:
    members = [
        {"task": "load", "id": "one", "state": "runs", "host": "there", "pid": "8"},
        {"task": "report", "state": "waits"},
    ]
    known = LockView(
        KEY, HELD, members, Holder({"id": "waiting"}), SINCE + timedelta(minutes=4), USUALLY, 30.0, (MET,)
    )
    lines = known.text().splitlines()

    assert lines[0] == f"{KEY}: held"
    assert "  held for       4m 00s" in lines
    assert "  usually        4m 00s; 95 % of the runs at most 6m 00s, 99 % at most 6m 40s" in lines
    assert "  fencing token  42" in lines
    assert "  waiters        3" in lines
    assert lines[-5:] == [
        "  in flight      load[one] runs on there, pid 8",
        "  in flight      report[-] waits",
        f"{KEY}: published and not begun: id waiting",
        "  last conflict  2026-11-22T12:00:00+00:00 task late: skip",
        "    held by      task an-id on here",
    ]


def test_who_had_the_lock_is_said_once_for_all_calls_that_met_it() -> None:
    later = MET._replace(task_id="later", action="retry")
    of_another = MET._replace(task_id="first", holder_id="another")
    unknown = MET._replace(task_id="lone", holder_id="")

    lines = view(conflicts=(later, MET, of_another, unknown)).text().splitlines()[-6:]

    assert [line.split()[-1] for line in lines] == ["retry", "here", "skip", "skip", "here", "skip"]
    assert lines[4] == "    held by      task another on here"


def test_a_text_says_that_a_run_may_hang() -> None:
    assert "held for       33m 20s: much longer" in view(held_s=2_000, hold=USUALLY).text()


def test_a_lock_whose_run_has_ended_says_why_it_is_busy() -> None:
    kept = view(is_kept=True, left_s=3.0)

    assert "kept 3.0 s" in rows(kept)[1]
    assert "  kept           its run has ended; lock_min_hold keeps it busy" in kept.text().splitlines()


def test_a_lock_that_is_free_says_who_waits_for_its_run() -> None:
    known = LockView(KEY, None, waiting=Holder({"id": "waiting"}))

    assert known.text() == f"{KEY}: free\n{KEY}: published and not begun: id waiting"
    assert known.as_dict() == {"name": KEY, "held": False, "waiting_to_begin": "waiting"}


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
        "line": [],
    }


def test_an_object_has_what_the_statistics_know() -> None:
    known = json.loads(json.dumps(view(hold=USUALLY, conflicts=(MET,)).as_dict()))

    assert known["typical_hold"] == {"p50": 240.0, "p95": 360.0, "p99": 400.0}
    assert known["last_conflicts"] == [
        {
            "when": "2026-11-22T12:00:00+00:00",
            "lock_name": KEY,
            "task_id": "late",
            "holder_id": "an-id",
            "host": "here",
            "action": "skip",
        }
    ]


def test_an_object_of_a_batch_has_its_members() -> None:
    assert LockView(KEY, HELD, [{"state": "waits"}]).as_dict()["members"] == [{"state": "waits"}]


def test_those_who_wait_are_told_in_their_order() -> None:
    line = (
        WaiterSeen(METADATA, SINCE),
        WaiterSeen({"name": "a script", "host": "there"}, SINCE),
        WaiterSeen({}, SINCE),
        WaiterSeen({"task": "\x1b[2J"}, SINCE),
    )
    now = SINCE + timedelta(seconds=7)
    seen = LockView(KEY, Inspection(KEY, HOLDER, waiters=4, is_kept=False, line=line), now=now)

    assert [each for each in seen.text().splitlines() if each.startswith("  waits ")] == [
        "  waits 1.       load[an-id] on here, for 7.0 s",
        "  waits 2.       name a script, host there, for 7.0 s",
        "  waits 3.       an unknown waiter, for 7.0 s",
        "  waits 4.       \\x1b[2J[-] on -, for 7.0 s",
    ]
    assert json.loads(json.dumps(seen.as_dict()))["line"][1:3] == [
        {"metadata": {"name": "a script", "host": "there"}, "since": "2026-11-22T12:00:00+00:00"},
        {"metadata": {}, "since": "2026-11-22T12:00:00+00:00"},
    ]
