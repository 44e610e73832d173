"""Checks: what coalescing promises, asked of any stage; each raises AssertionError on a wrong one."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from celery.result import AsyncResult

from ...support.deadlines import eventually
from ..ends.stage import Stage, new_key

TASK_S = 1.0
#: Seconds: a machine with other work may take many times as long for the triggers as they took to come.
PATIENCE_S = 200.0


def one_more_run_for_all(stage: Stage, task: str = "latest", others: int = 4) -> None:
    """Of those that meet the lock one runs, once, when it is free; the others end, and name it."""
    key = new_key()
    holder = stage.hold(task, key, ["gate", key])
    results = []
    for number in range(others):
        results.append(stage.send(task, key, ["give", number]))
        eventually(lambda: is_met(stage, key, results[-1], task), message="it should meet the lock")
    stage.journal.open(key)

    chosen = {"latest": others - 1, "first": 0}[task]
    assert results[chosen].get(timeout=10) == chosen
    assert holder.get(timeout=10) is None
    for number, result in enumerate(results):
        if number != chosen:
            assert stage.state_of(result) == "REVOKED"
            assert f"superseded by task {results[chosen].id}" in str(result.result)
    time.sleep(0.5)
    assert [run["id"] for run in stage.journal.entries(key, "begun")] == [holder.id, results[chosen].id]
    nothing_is_left(stage, key, task)


def the_last_trigger_is_seen(
    stage: Stage, triggers: int, seconds: float, disturb: Callable[[float], Any] = lambda at: None
) -> tuple[list[Any], float]:
    """A run starts after the last trigger and has its arguments.

    The last trigger is sent when the others have met the lock: of two that are under way at once, in two
    processes, the one that was sent first may meet it last.

    Returns:
        The begins of all runs, and how many seconds the worker was behind at the end: a run that begins
        later than the one before it allows is due to a queue that a busy machine has not emptied.
    """
    key, began = new_key(), time.monotonic()
    results: list[AsyncResult[Any]] = []
    for number in range(triggers - 1):
        pause = began + number * seconds / triggers - time.monotonic()
        if pause > 0:
            time.sleep(pause)
        disturb((time.monotonic() - began) / seconds)
        results.append(stage.send("latest", key, ["sleep", TASK_S], ["give", number]))
    over = time.monotonic()
    eventually(lambda: all_met(stage, key, results), PATIENCE_S, "every trigger should meet the lock")
    results.append(stage.send("latest", key, ["sleep", TASK_S], ["give", triggers - 1]))
    sent = time.monotonic()
    assert results[-1].get(timeout=PATIENCE_S) == triggers - 1, "the last trigger should run"
    eventually(lambda: all(result.ready() for result in results), 60, "every trigger should end")
    begun = stage.journal.entries(key, "begun")
    ids = [entry["id"] for entry in begun]
    assert begun[-1]["id"] == results[-1].id, "the last run has not the last arguments"
    # The clock of `sent` is read after the message was on its way.
    assert begun[-1]["at"] > sent - 0.1, "the last run started before the last trigger"
    assert len(set(ids)) == len(ids), "a run was published twice"
    assert stage.journal.overlaps(key) == 0
    states = [result.state for result in results]
    assert states.count("SUCCESS") == len(ids), "every run should end well"
    assert states.count("REVOKED") == triggers - len(ids), "who did not run should be revoked"
    nothing_is_left(stage, key)
    return begun, max(0.0, begun[-1]["at"] - over - TASK_S)


def is_met(stage: Stage, key: str, result: AsyncResult[Any], task: str = "latest") -> bool:
    """Whether a trigger is wanted, or superseded already."""
    wanted = stage.locks.hgetall(f"redislock.pending:{{{stage.lock_name(task, key)}}}")
    return result.ready() or any(result.id in entry for entry in wanted.values())


def all_met(stage: Stage, key: str, results: list[AsyncResult[Any]]) -> bool:
    """Whether each trigger has got the lock, or is wanted, or superseded already."""
    kept = " ".join(stage.locks.hgetall(f"redislock.pending:{{{stage.lock_name('latest', key)}}}").values())
    begun = {entry["id"] for entry in stage.journal.entries(key, "begun")}
    return all(result.id in begun or result.id in kept or result.ready() for result in results)


def nothing_is_left(stage: Stage, key: str, task: str = "latest") -> None:
    """No run is wanted any more, and nothing is kept but messages that may come a second time."""
    name = f"redislock.pending:{{{stage.lock_name(task, key)}}}"

    def left() -> Any:
        return stage.locks.hgetall(name)

    eventually(
        lambda: all(field.startswith("sent ") and entry.startswith("-") for field, entry in left().items()),
        message="nothing should be left",
    )
    # The run has told its result by then: whoever releases its lock sees that only such messages are left.
    eventually(lambda: stage.locks.ttl(name) <= 3600, message="it should be kept for an hour at most")
