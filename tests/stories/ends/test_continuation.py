"""Continuation: what a run itself has published never conflicts with it."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from celery import chain, chord

from . import figures
from .stage import Stage, new_key, stage_with_worker

STEPS = 3


def chains(stage: Stage, times: int, at_a_time: int, where: str = "") -> None:
    """Run chains, each under one key from its begin to its end.

    Args:
        stage: Where.
        times: How many.
        at_a_time: How many are under way: of many, the next step waits behind the others' first.
        where: The pool, if the queue does not have its name.
    """
    keys = [new_key() for _ in range(times)]
    began = time.monotonic()
    for first in range(0, times, at_a_time):
        results = [
            chain(*(stage.sig("plain", key, ["give", step]) for step in range(STEPS))).apply_async()
            for key in keys[first : first + at_a_time]
        ]
        for result in results:
            assert result.get(timeout=60) == STEPS - 1
    per_chain = (time.monotonic() - began) / times
    for key in keys:
        assert not stage.journal.entries(stage.lock_name("plain", key), "conflict")
        assert len(stage.journal.entries(key, "begun")) == STEPS
        assert stage.journal.overlaps(key) == 0
    how = f"{times} times, {at_a_time} at a time"
    figures.note(
        f"chain of {STEPS} under one key: seconds for each",
        where or stage.queue,
        "SUCCESS",
        per_chain,
        0,
        how,
    )


def test_the_steps_of_a_chain_under_one_key_never_conflict(stage: Stage) -> None:
    chains(stage, 50, at_a_time=10)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("at_a_time", [1, 2, 20])
def test_the_steps_of_two_hundred_chains_never_conflict_on_two_processes(at_a_time: int, store: str) -> None:
    with stage_with_worker(store, f"chains-{at_a_time}", concurrency=2) as stage:
        chains(stage, 200, at_a_time, "prefork, 2 processes")


@pytest.mark.parametrize("pool", ["threads", "solo", "gevent", "eventlet"])
def test_the_steps_of_a_chain_never_conflict_in_other_pools(
    pool: str, stage_of: Callable[[str], Stage]
) -> None:
    chains(stage_of(pool), 5, at_a_time=1)


@pytest.mark.parametrize("times", [10])
def test_a_callback_with_the_key_of_its_task_runs(times: int, stage: Stage) -> None:
    for _ in range(times):
        key = new_key()
        first = stage.send("plain", key, ["give", 1], link=stage.sig("plain", key, ["give", 2]))
        assert first.get(timeout=10) == 1
        stage.journal.wait_for(key, "ended", times=2)
        assert not stage.journal.entries(stage.lock_name("plain", key), "conflict")


def test_an_errback_with_the_key_of_its_task_runs(stage: Stage) -> None:
    key = new_key()
    stage.send("plain", key, ["raise"], link_error=stage.sig("plain", key, ["give", 2]))

    stage.journal.wait_for(key, "ended", times=2)
    assert not stage.journal.entries(stage.lock_name("plain", key), "conflict")


def test_the_body_of_a_chord_with_the_key_of_a_header_runs(stage: Stage) -> None:
    for _ in range(10):
        one, other = new_key(), new_key()
        header = [stage.sig("plain", key, ["give", 1]) for key in (one, other)]

        result = chord(header)(stage.sig("plain", one, ["give", 2]))

        assert result.get(timeout=10) == 2
        assert not stage.journal.entries(stage.lock_name("plain", one), "conflict")


def test_a_task_that_a_run_sends_at_its_end_runs_after_it(stage: Stage) -> None:
    for _ in range(10):
        key = new_key()
        sent = stage.send("plain", key, ["send", key, ["give", 2]]).get(timeout=10)

        assert stage.state_of(stage.app.AsyncResult(sent)) == "SUCCESS"
        assert stage.journal.overlaps(key) == 0


def test_whoever_read_the_result_and_comes_at_once_does_not_conflict(stage: Stage) -> None:
    key = new_key()
    for turn in range(20):
        assert stage.send("plain", key, ["give", turn]).get(timeout=10, interval=0.005) == turn
