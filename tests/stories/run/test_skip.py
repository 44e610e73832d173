"""Skip: whoever waits for a skipped task is told at once, and why."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable

import pytest
from celery import chain, chord, group
from celery.exceptions import ChordError, TaskRevokedError

from ...support.deadlines import eventually
from . import tasks_app
from .stage import Events, Stage

skip = tasks_app.skip
GIVE = ["give", 1]


def test_the_result_of_a_skipped_task_says_who_has_the_lock_and_what_shows_it(stage: Stage) -> None:
    name = skip.lock_name("a")
    with stage.held(skip, "a") as holder:
        loser = stage.send(skip, "a", GIVE)

        with pytest.raises(TaskRevokedError) as caught:
            loser.get(timeout=10)

        assert loser.state == "REVOKED"
        facts = re.search(
            rf"lock '{name}' is busy, held by: task skip, id (\S+), host (\S+), pid (\d+), "
            rf"since (20\S+), lease left (\d\d\.\d) s; `celery -A APP locks show {name}` shows it",
            str(caught.value),
        )
        assert facts is not None, str(caught.value)
        assert facts[1] == holder.id
        assert facts[2] == socket.gethostname()
        assert int(facts[3]) in stage.worker.children()
        assert 0 < float(facts[5]) <= 30


def test_a_skipped_task_is_logged_at_info_without_a_traceback(stage: Stage) -> None:
    with stage.held(skip, "a"):
        loser = stage.send(skip, "a", GIVE)
        loser.get(timeout=10, propagate=False)
        line = f"Task skip[{loser.id}] skip: lock '{skip.lock_name('a')}' is busy"
        eventually(lambda: f"Task skip[{loser.id}] ignored" in stage.log())

    assert re.search(rf"INFO/\S+\] {re.escape(line)}", stage.log())
    assert "Traceback" not in stage.log()
    assert "ERROR" not in stage.log()
    assert "WARNING" not in stage.log()


def test_the_later_members_of_a_chain_are_revoked_with_a_skipped_one(stage: Stage) -> None:
    first, second, third = (stage.sig(skip, key, GIVE) for key in "abc")
    with stage.held(skip, "a") as holder:
        last = chain(first, second, third).apply_async()

        with pytest.raises(TaskRevokedError, match=holder.id):
            last.get(timeout=10)

        results = (last, last.parent, last.parent.parent)
        eventually(lambda: [result.state for result in results] == ["REVOKED"] * 3)


def test_a_chain_ends_where_a_member_without_a_result_was_skipped(stage: Stage) -> None:
    with stage.held(tasks_app.ignored, "a"):
        last = chain(stage.sig(tasks_app.ignored, "a"), stage.sig(skip, "b", GIVE)).apply_async()

        with pytest.raises(TaskRevokedError):
            last.get(timeout=10)


def test_a_member_in_the_midst_of_a_chain_leaves_the_earlier_result(stage: Stage) -> None:
    with stage.held(skip, "b"):
        last = chain(stage.sig(skip, "a", GIVE), stage.sig(skip, "b", GIVE)).apply_async()

        with pytest.raises(TaskRevokedError):
            last.get(timeout=10)

        assert last.parent.get(timeout=10) == 1


def test_a_chord_ends_when_a_member_of_its_header_was_skipped(stage: Stage) -> None:
    header = [stage.sig(skip, key, GIVE) for key in "abc"]
    with stage.held(skip, "b"):
        result = chord(header)(stage.sig(skip, "body", GIVE))

        with pytest.raises((ChordError, TaskRevokedError), match="is busy"):
            result.get(timeout=10)


def test_a_chord_ends_when_its_body_was_skipped(stage: Stage) -> None:
    header = [stage.sig(skip, key, GIVE) for key in "ab"]
    with stage.held(skip, "body"):
        result = chord(header)(stage.sig(skip, "body", GIVE))

        with pytest.raises(TaskRevokedError, match="is busy"):
            result.get(timeout=10)


def test_a_group_ends_with_what_the_others_gave(stage: Stage) -> None:
    with stage.held(skip, "b"):
        result = group(stage.sig(skip, key, GIVE) for key in "abc").apply_async()

        gave = result.get(timeout=10, propagate=False)

        assert gave[0] == gave[2] == 1
        assert isinstance(gave[1], TaskRevokedError)


def test_a_skipped_task_without_a_result_leaves_none(stage: Stage) -> None:
    with stage.held(tasks_app.ignored, "a"):
        loser = stage.send(tasks_app.ignored, "a", GIVE)
        stage.journal.wait_for("conflict", id=loser.id)
        eventually(lambda: f"[{loser.id}] ignored" in stage.log())

        assert loser.state == "PENDING"
        assert not stage.results.keys(f"*{loser.id}*")


def test_monitors_see_a_skipped_task_as_revoked(stage: Stage) -> None:
    with Events().listening(stage.app) as events, stage.held(skip, "a"):
        loser = stage.send(skip, "a", GIVE)

        eventually(lambda: "task-revoked" in events.of(loser.id))

        assert "task-succeeded" not in events.of(loser.id)
        assert "task-failed" not in events.of(loser.id)
        # An operator's revoke has no result: so a monitor can tell the two, and show why.
        assert f"lock {skip.lock_name('a')!r} is busy" in events.fields(loser.id, "task-revoked")["result"]


def test_a_worker_without_events_sends_none(stage_of: Callable[[str], Stage]) -> None:
    stage = stage_of("threads")
    with Events().listening(stage.app) as events, stage.held(skip, "a"):
        loser = stage.send(skip, "a", GIVE)
        eventually(lambda: f"[{loser.id}] ignored" in stage.log())
        with stage.app.events.default_dispatcher() as dispatcher:
            dispatcher.send("task-marker", uuid="marker")
        eventually(lambda: events.of("marker"))

        assert events.of(loser.id) == []


def test_an_eager_call_that_was_skipped_is_no_success(stage: Stage) -> None:
    with stage.held(skip, "a"):
        result = skip.apply(("a", GIVE))

        assert result.state == "REVOKED"
        assert not result.successful()
        with pytest.raises(TaskRevokedError, match="is busy"):
            result.get()


def test_the_signal_of_a_conflict_tells_who_met_whom(stage: Stage) -> None:
    with stage.held(skip, "a") as holder:
        loser = stage.send(skip, "a", GIVE)
        conflict = stage.journal.wait_for("conflict", id=loser.id)

    assert conflict["action"] == "skip"
    assert conflict["shadow"] is False
    assert conflict["holder"] == holder.id
    assert conflict["lock"] == skip.lock_name("a")
    assert re.fullmatch(r"[0-9a-f]{16}", conflict["args_hash"])
    assert conflict["pid"] != os.getpid()
