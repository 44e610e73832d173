"""Moments: however a body ends, its lock is free at once, an equal task runs, and no two ran at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from ...support.deadlines import eventually
from . import figures
from .rows import shows
from .stage import Stage, new_key, stage_with_worker

#: Seconds from the end of a body until its lock must be free, on a busy machine: Celery stores the
#: result and sends what comes next in between.
AT_ONCE = 5.0

EVERYWHERE = ("prefork", "threads", "solo", "gevent", "eventlet")
GREENLETS = ("gevent", "eventlet")


@dataclass(frozen=True)
class End:
    """One way to end.

    Attributes:
        states: What the result may say; "": none is stored.
        ends: How often a body ends.
        task: Which task of the application.
        then: What the test does to the run once it has begun.
    """

    pools: tuple[str, ...]
    steps: tuple[Any, ...]
    states: tuple[str, ...]
    ends: int = 1
    task: str = "plain"
    options: dict[str, Any] = field(default_factory=dict)
    then: Callable[[Stage, Any], object] = lambda stage, result: None


def terminate(stage: Stage, result: Any) -> None:
    stage.app.control.revoke(result.id, terminate=True)


LOST_WORKER = "FAILURE (WorkerLostError)"

ENDS = {
    "returns": End(EVERYWHERE, (["give", 1],), ("SUCCESS",)),
    "raises": End(EVERYWHERE, (["raise"],), ("FAILURE (Failure)",)),
    "soft limit": End(
        ("prefork",), (["doze", 30],), ("FAILURE (SoftTimeLimitExceeded)",), options={"soft_time_limit": 0.3}
    ),
    "soft limit, caught": End(
        ("prefork",), (["until soft limit"], ["beat", 0.3]), ("SUCCESS",), options={"soft_time_limit": 0.3}
    ),
    "retry": End(EVERYWHERE, (["retry at first"],), ("SUCCESS",), ends=2),
    "autoretry": End(EVERYWHERE, (["fail at first"],), ("SUCCESS",), ends=2, task="auto"),
    "ignore": End(EVERYWHERE, (["ignore"],), ("",)),
    "reject": End(EVERYWHERE, (["reject"],), ("FAILURE (Reject)", "")),
    "replace": End(EVERYWHERE, (["replace"],), ("SUCCESS",), ends=2),
    # In a pool of threads or greenlets Celery does not notice; a solo worker ends.
    "exit": End(("prefork", "threads", "gevent", "eventlet"), (["exit"],), (LOST_WORKER, "")),
    "terminate": End(("prefork",), (["doze", 30],), ("REVOKED",), then=terminate),
    "terminate a greenlet": End(GREENLETS, (["doze", 30],), ("REVOKED", ""), then=terminate),
    "hard limit of a greenlet": End(
        ("gevent",), (["doze", 30],), ("FAILURE (TimeLimitExceeded)",), options={"time_limit": 0.5}
    ),
}

#: The task that is acknowledged late in place of each one.
LATE = {"plain": "late", "auto": "late_auto"}


def cases() -> list[Any]:
    """Return name, pool, broker and acknowledgement; the stages that are rarely needed come last."""
    found = []
    for broker, ack in (("Redis", "early"), ("Redis", "late"), ("RabbitMQ", "early"), ("RabbitMQ", "late")):
        for pool in EVERYWHERE:
            is_quick = pool == "prefork" or (broker, ack) == ("Redis", "early")
            for name in [name for name, end in ENDS.items() if pool in end.pools]:
                marks = () if is_quick else pytest.mark.slow
                words = f"{pool}: {name}, {broker}, {ack}"
                found.append(pytest.param(name, pool, broker, ack, id=words, marks=marks))
    return found


def can_terminate(pool: str) -> bool:
    """Whether the pool of this Celery knows how to; it is not imported, as it would patch this process."""
    found = find_spec(f"celery.concurrency.{pool}")
    return found is not None and "def terminate_job" in Path(str(found.origin)).read_text()


@shows(*ENDS)
@pytest.mark.parametrize(("name", "pool", "broker", "ack"), cases())
def test_the_lock_is_free_at_once_and_an_equal_task_runs(
    name: str, pool: str, broker: str, ack: str, stage_of: Callable[..., Stage]
) -> None:
    if name == "terminate a greenlet" and not can_terminate(pool):
        pytest.skip("this Celery cannot terminate a task of this pool")
    stage, end, key = stage_of(pool, broker), ENDS[name], new_key()
    task = end.task if ack == "early" else LATE[end.task]

    result = stage.hold(task, key, *end.steps, **end.options)
    end.then(stage, result)

    ended = stage.journal.wait_for(key, "ended", times=end.ends)
    seconds = max(0.0, stage.free_at(task, key, AT_ONCE) - ended["at"])
    stage.runs_equal(task, key)
    state = stage.state_of(result, none_is_fine="" in end.states)
    assert state in end.states
    overlaps = stage.journal.overlaps(key)
    assert overlaps == 0
    assert not stage.journal.entries(stage.lock_name(task, key), "conflict"), "it met its own lock"
    figures.note(name, pool, state or "none", seconds, overlaps, f"{broker}, {ack} ack")


@pytest.mark.parametrize("pool", EVERYWHERE)
def test_a_retry_leaves_the_lock_free_while_it_waits_for_its_time(
    pool: str, stage_of: Callable[[str], Stage]
) -> None:
    stage, key = stage_of(pool), new_key()

    result = stage.hold("plain", key, ["retry at first", 3], ["give", 1])
    stage.ended(key, result)

    eventually(lambda: result.state == "RETRY", message="Celery should store RETRY")
    stage.runs_equal("plain", key)
    assert len(stage.journal.entries(key, "begun", id=result.id)) == 1, "it did not wait"
    assert result.get(timeout=20) == 1


def test_a_solo_worker_that_a_body_ends_leaves_no_lock(store: str, stage_of: Callable[[str], Stage]) -> None:
    key = new_key()
    with stage_with_worker(store, "exit", pool="solo", concurrency=1) as stage:
        result = stage.hold("plain", key, ["exit"])

        seconds = max(0.0, stage.free_at("plain", key, AT_ONCE) - stage.ended(key, result)["at"])
        stage.worker.wait()

    stage_of("threads").runs_equal("plain", key)
    figures.note("exit", "solo", "none", seconds, 0, "Redis, early ack")
