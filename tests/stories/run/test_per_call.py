"""Per call: lock options given with one call hold for it, wherever it travels."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from celery import chain, chord, group
from celery.exceptions import TaskRevokedError
from kombu.exceptions import EncodeError

from celery_redislock import ConfigurationError, LockBusy

from ...support.deadlines import eventually
from . import tasks_app
from .stage import Stage

skip = tasks_app.skip
FAIL = {"on_conflict": "fail"}


def test_the_ttl_of_a_call_is_the_lease_of_its_run(stage: Stage) -> None:
    for ttl in (100, timedelta(seconds=100)):
        result = stage.hold(skip, "a", lock={"ttl": ttl})

        assert 31_000 < stage.locks.pttl(skip.lock_name("a")) <= 100_000

        stage.journal.open("hold")
        result.get(timeout=10)


def test_the_key_of_a_call_replaces_the_arguments_of_the_task(stage: Stage) -> None:
    result = stage.hold(skip, "a", lock={"key": "mine:{key}"})

    assert stage.locks.exists("redislock:mine:a")
    assert not stage.locks.exists(skip.lock_name("a"))

    stage.journal.open("hold")
    result.get(timeout=10)


def test_the_args_of_a_call_replace_the_key_of_the_task(stage: Stage) -> None:
    keyed = tasks_app.keyed
    with keyed.lock_for("a"):
        assert keyed.apply_async(("a",), queue=stage.queue, lock={"args": ()}).get(timeout=10) is None
        loser = keyed.apply_async(("a",), queue=stage.queue)
        assert isinstance(loser.get(timeout=10, propagate=False), TaskRevokedError)


def test_the_wait_of_a_call_lets_it_wait_in_its_slot(stage: Stage) -> None:
    with stage.held(skip, "a"):
        waiting = stage.send(skip, "a", ["give", 1], lock={"wait": timedelta(seconds=20)})
        waiters = f"redislock.waiters:{{{skip.lock_name('a')}}}"
        eventually(lambda: stage.locks.exists(waiters))

    assert waiting.get(timeout=10) == 1


def test_the_mode_of_a_call_lets_it_run_without_the_lock(stage: Stage) -> None:
    with stage.held(skip, "a"):
        stage.runs(skip, "a", lock={"mode": "off"})
        stage.runs(skip, "a", lock={"mode": "shadow"})


def test_the_delays_of_a_call_may_be_timedeltas(stage: Stage) -> None:
    delays = (timedelta(milliseconds=20), timedelta(milliseconds=50))
    with stage.held(skip, "a"):
        lock = {"on_conflict": "retry", "retry_delay": delays, "retry_for": timedelta(minutes=1)}
        loser = stage.send(skip, "a", ["give", 1], lock=lock)
        stage.journal.wait_for("conflict", times=3, id=loser.id)

    assert loser.get(timeout=10) == 1


ROUTES: dict[str, Callable[[Stage, Any], Any]] = {
    "apply_async": lambda stage, lock: skip.apply_async(("a",), queue=stage.queue, lock=lock),
    "from the registry": lambda stage, lock: stage.app.tasks["skip"].apply_async(
        ["a"], {}, queue=stage.queue, lock=lock
    ),
    "signature": lambda stage, lock: stage.sig(skip, "a").set(lock=lock).delay(),
    "clone": lambda stage, lock: stage.sig(skip, "a").set(lock=lock).clone().apply_async(),
    "chain": lambda stage, lock: chain(
        stage.sig(skip, "b"), stage.sig(skip, "c"), stage.sig(skip, "a").set(lock=lock)
    ).apply_async(),
    "group": lambda stage, lock: group([stage.sig(skip, "a").set(lock=lock)]).apply_async()[0],
    "whole group": lambda stage, lock: group([stage.sig(skip, "a")]).apply_async(lock=lock)[0],
    "chord body": lambda stage, lock: chord([stage.sig(skip, "b"), stage.sig(skip, "c")])(
        stage.sig(skip, "a").set(lock=lock)
    ),
    "callback": lambda stage, lock: (
        stage.send(skip, "b", link=stage.sig(skip, "a").set(lock=lock, task_id="the-callback")),
        stage.app.AsyncResult("the-callback"),
    )[1],
}


@pytest.mark.parametrize("route", ROUTES)
def test_the_options_of_a_call_travel_with_it(route: str, stage: Stage) -> None:
    """The task itself would skip: a failure shows that the call's own policy was there."""
    with stage.held(skip, "a") as holder:
        loser = ROUTES[route](stage, FAIL)

        error = loser.get(timeout=10, propagate=False)

        assert isinstance(error, LockBusy)
        assert error.holder is not None
        assert error.holder.metadata["id"] == holder.id


def test_the_options_of_a_call_hold_for_its_retries(stage: Stage) -> None:
    lock = {"key": "mine:{key}"}
    result = stage.send(skip, "a", ["retry", 2], ["wait", "end"], lock=lock)
    stage.journal.wait_for("begun")

    assert len(stage.journal.entries("try")) == 3
    assert stage.locks.exists("redislock:mine:a")

    stage.journal.open("end")
    result.get(timeout=10)


def test_the_options_of_a_call_hold_for_its_retries_after_a_conflict(stage: Stage) -> None:
    lock = {"on_conflict": "retry", "retry_delay": (0.02, 0.02), "key": "mine:{key}"}
    first = stage.hold(skip, "a", lock=lock)
    loser = stage.send(skip, "a", ["wait", "second"], lock=lock)
    stage.journal.wait_for("conflict", times=2, id=loser.id)
    stage.journal.open("hold")
    first.get(timeout=10)
    stage.journal.wait_for("begun", id=loser.id)

    assert stage.locks.exists("redislock:mine:a")

    stage.journal.open("second")
    loser.get(timeout=10)


def test_a_timedelta_for_a_later_member_of_a_chain_is_refused_when_the_chain_is_published(
    stage: Stage,
) -> None:
    """The later members travel as they were written, past LockedTask: only seconds can be encoded."""
    last = stage.sig(skip, "a").set(lock={"ttl": timedelta(seconds=100)})

    with pytest.raises(EncodeError, match="timedelta"):
        chain(stage.sig(skip, "b", ["report", "ran"]), last).apply_async()

    stage.runs(skip, "b")
    assert len(stage.journal.entries("ran")) == 1


def test_a_wrong_option_publishes_nothing(stage: Stage) -> None:
    with pytest.raises(ConfigurationError, match="ttl"):
        stage.send(skip, "a", ["report", "ran"], lock={"ttl": -1})

    stage.runs(skip, "a")
    assert len(stage.journal.entries("ran")) == 1
    assert not stage.journal.entries("conflict")


STRANGER = """
from celery import Celery
from celery.canvas import signature

app = Celery("stranger", broker={broker!r}, backend={results!r})
result = app.send_task("skip", ["a", ["wait", "hold"]], queue={queue!r}, lock={{"key": "mine:{{key}}"}})
print(result.id)
"""


def by_name(stage: Stage, **options: Any) -> str:
    sent = tasks_app.app.send_task("skip", ["a", ["wait", "hold"]], queue=stage.queue, **options)
    return str(sent.id)


def by_name_of_a_stranger(stage: Stage, **_: Any) -> str:
    """Publish from a program that imports nothing of ours."""
    conf = tasks_app.app.conf
    program = STRANGER.format(broker=conf.broker_url, results=conf.result_backend, queue=stage.queue)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize("send", [by_name, by_name_of_a_stranger])
def test_the_options_of_a_call_by_name_hold_for_its_run(
    send: Callable[..., str], stage_of: Callable[[str], Stage]
) -> None:
    for pool in ("prefork", "solo"):
        stage = stage_of(pool)
        task_id = send(stage, lock={"key": "mine:{key}"})
        stage.journal.wait_for("begun", id=task_id)

        assert stage.locks.exists("redislock:mine:a")
        assert not stage.locks.exists(skip.lock_name("a"))

        stage.journal.open("hold")
        tasks_app.app.AsyncResult(task_id).get(timeout=10)


@pytest.mark.parametrize(
    ("lock", "named"),
    [
        ({"tll": 5}, r"did you mean 'ttl'"),
        ({"ttl": "soon"}, r'lock=\{"ttl": ...\} of a call of task \'skip\''),
        ({"key": print}, r'lock=\{"key": ...\} of a call of task \'skip\' must be a name or template'),
        (5, "must be a dict of options"),
    ],
)
def test_wrong_options_of_a_call_by_name_end_it_before_its_body(lock: Any, named: str, stage: Stage) -> None:
    result = tasks_app.app.send_task("skip", ["a", ["report", "ran"]], queue=stage.queue, lock=lock)

    with pytest.raises(ConfigurationError, match=named):
        result.get(timeout=10)

    assert not stage.journal.entries("ran")
