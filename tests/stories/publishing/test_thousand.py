"""A thousand: however many publish at once, one call is published; again after each way it can end."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from celery.result import AsyncResult

from ...support.deadlines import eventually
from ..ends.stage import Stage, new_key, stage_with_worker, worker_for
from .publishers import Crew

#: Calls in a burst of the normal run, and of the slow one.
FEW, MANY = 200, 1000


class Burst:
    """The same call, published by many at once, and its one run."""

    def __init__(self, stage: Stage, crew: Crew, calls: int, task: str = "plain", ttl: float = 3) -> None:
        self.stage, self.crew, self.calls, self.task = stage, crew, calls, task
        self.lock = {"scope": "task", "ttl": ttl}
        self.key = new_key()

    def answered(self, *steps: Any, **options: Any) -> AsyncResult[Any]:
        """Publish; all must be answered with one id."""
        options = {"queue": self.stage.queue, "lock": self.lock, **options}
        ids = self.crew.publish(self.calls, self.task, [self.key, *steps], **options)
        assert len(set(ids)) == 1, f"{len(set(ids))} ids for {self.calls} calls"
        return self.stage.app.AsyncResult(ids[0])

    def gated(self, *steps: Any, **options: Any) -> AsyncResult[Any]:
        """Publish a call that waits in its body until `open`."""
        return self.answered(["gate", self.key], *steps, **options)

    def begun(self, result: AsyncResult[Any], times: int = 1) -> Any:
        """Return the report of the begin of the run."""
        return self.stage.journal.wait_for(self.key, "begun", times, id=result.id)

    def open(self) -> None:
        """Let the body go on."""
        self.stage.journal.open(self.key)

    def is_free(self, within: float = 20.0) -> None:
        """Return when nothing waits or runs."""
        name = self.stage.lock_name(self.task, self.key)
        keys = (name, f"redislock.reservation:{{{name}}}")
        eventually(lambda: not self.stage.locks.exists(*keys), within, "locks should be free")


def returns(burst: Burst) -> AsyncResult[Any]:
    first = burst.gated()
    burst.open()
    first.get(timeout=20)
    return first


def raises(burst: Burst) -> AsyncResult[Any]:
    first = burst.gated(["raise"])
    burst.open()
    assert burst.stage.state_of(first) == "FAILURE (Failure)"
    return first


def retries(burst: Burst) -> AsyncResult[Any]:
    """A waiting retry counts as waiting."""
    steps = [["retry at first", 1.0]]
    first = burst.gated(*steps)
    burst.open()
    eventually(lambda: first.state == "RETRY")
    assert burst.gated(*steps).id == first.id
    burst.open()
    assert first.get(timeout=20) is None
    assert len(burst.stage.journal.entries(burst.key, "begun", id=first.id)) == 2
    return first


def revoked(burst: Burst) -> AsyncResult[Any]:
    """Before it starts: its queue has no consumer until it is revoked."""
    queue = new_key()
    first = burst.gated(queue=queue)
    burst.stage.app.control.revoke(first.id, reply=True, limit=1, timeout=10)
    burst.stage.app.control.add_consumer(queue, reply=True, limit=1, timeout=10)
    assert burst.stage.state_of(first) == "REVOKED"
    return first


def expires(burst: Burst) -> AsyncResult[Any]:
    """Before it starts, in a queue without a consumer."""
    queue = new_key()
    first = burst.gated(queue=queue, expires=3)
    burst.is_free()
    burst.stage.app.control.add_consumer(queue, reply=True, limit=1, timeout=10)
    assert burst.stage.state_of(first) == "REVOKED"
    return first


def child_is_killed(burst: Burst) -> AsyncResult[Any]:
    first = burst.gated()
    os.kill(burst.begun(first)["pid"], signal.SIGKILL)
    assert burst.stage.state_of(first, 20) == "FAILURE (WorkerLostError)"
    return first


def hard_limit(burst: Burst) -> AsyncResult[Any]:
    # The limit counts from the begin of the body: it has to outlast the burst.
    first = burst.gated(time_limit=8)
    assert burst.stage.state_of(first, 30) == "FAILURE (TimeLimitExceeded)"
    return first


def worker_is_killed(burst: Burst) -> AsyncResult[Any]:
    """And its message delivered again, which waits until the lease of the dead one ends."""
    stage = burst.stage
    first = burst.gated()
    burst.begun(first)
    message = stage.message_of(first)
    stage.worker.kill()
    assert burst.gated().id == first.id
    stage.deliver_again(message)
    with worker_for(stage.app.conf.redislock_url.rpartition("/")[0], stage.queue) as stage.worker:
        burst.stage.journal.wait_for(burst.key, "begun", 2, within=40, id=first.id)
        assert burst.gated().id == first.id
        burst.open()
        first.get(timeout=20)
        burst.is_free()
        _again(burst, first)
    return first


End = Callable[[Burst], "AsyncResult[Any]"]
QUICK: list[End] = [returns, retries, revoked]
ENDS: list[End] = [returns, raises, retries, revoked, expires, child_is_killed, hard_limit]


def _again(burst: Burst, first: AsyncResult[Any]) -> None:
    second = burst.gated()
    assert second.id != first.id, "it was answered with one that has ended"
    burst.open()
    second.get(timeout=20)
    burst.is_free()


def one_id_for_all_and_again(end: End, burst: Burst) -> None:
    """What this module promises."""
    began = time.monotonic()
    first = end(burst)
    burst.is_free()
    _again(burst, first)
    print(f"{end.__name__}: {burst.calls} calls, one id; again, one other ({time.monotonic() - began:.1f} s)")


@pytest.mark.parametrize("end", QUICK, ids=lambda end: end.__name__)
def test_200_at_once_get_one_id_and_again_after_its_end(end: End, stage: Stage, crew: Crew) -> None:
    one_id_for_all_and_again(end, Burst(stage, crew, FEW))


@pytest.mark.slow
@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
def test_1000_at_once_get_one_id_and_again_after_its_end(end: End, stage: Stage, crew: Crew) -> None:
    one_id_for_all_and_again(end, Burst(stage, crew, MANY))


@pytest.mark.slow
def test_1000_at_once_get_one_id_also_when_the_worker_is_killed(store: str, crew: Crew) -> None:
    with stage_with_worker(store, "killed") as stage:
        # A dead worker blocks publishing for the lease, which has to outlast the second burst.
        worker_is_killed(Burst(stage, crew, MANY, task="late", ttl=20))


@pytest.fixture
def wrong_crew(store: str) -> Iterator[Callable[[str], Crew]]:
    """Make a crew with a wrong publish lock."""
    with ExitStack() as stack:
        yield lambda double: stack.enter_context(Crew(store, 8, double))


def test_publishers_that_look_and_then_take_get_several(
    stage: Stage, wrong_crew: Callable[[str], Crew]
) -> None:
    """Else that all get one would prove nothing."""
    burst = Burst(stage, wrong_crew("LooksAndThenTakes"), FEW)
    with pytest.raises(AssertionError, match="ids for 200 calls"):
        burst.answered()
