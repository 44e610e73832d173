"""Circles: runs that wait for each other."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timezone
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery

from celery_redislock import Holder, RedisLock
from celery_redislock.doctor.finding import Finding
from celery_redislock.doctor.live import Live
from celery_redislock.doctor.rule import LIVE, CannotLook
from celery_redislock.doctor.workers import Clock, Worker
from celery_redislock.engine import Inspection, WaiterSeen

from ...support.deadlines import eventually
from ...support.waiting_threads import Waiting
from .looking import configured, found_by

SINCE = datetime(2026, 12, 1, tzinfo=timezone.utc)


def who(pid: int, **more: str) -> dict[str, str]:
    return {"task": "move", "host": "web1", "pid": str(pid), **more}


def lock(
    name: str, holder: int, waiters: Iterable[int], *, is_kept: bool = False, **of_holder: str
) -> Inspection:
    """Return a lock that a process holds, and for which others wait."""
    line = tuple(WaiterSeen(who(pid), SINCE) for pid in waiters)
    return Inspection(name, Holder(who(holder, **of_holder)), len(line), is_kept, line)


def found(*locks: Inspection, processes: Iterable[int] = range(10)) -> list[Finding]:
    """Return what is found of these locks; the processes run one task at a time."""
    worker = Worker("w1@web1", {"host": "web1", "processes": list(processes)}, Clock(0.0, 0.0))
    return found_by("RL403", SimpleNamespace(contended=locks, workers=(worker,)), LIVE)


def test_two_runs_that_wait_for_each_other_are_found() -> None:
    (circle,) = found(lock("a", 1, [2]), lock("b", 2, [1]))

    assert circle.level == "error"
    assert "move[-] in process 2 on web1 waits for a" in circle.message
    assert "move[-] in process 1 on web1 waits for b" in circle.message


def test_a_longer_circle_is_found_once_among_others_that_wait() -> None:
    locks = [lock("a", 1, [9, 2]), lock("b", 2, [3]), lock("c", 3, [8, 1]), lock("d", 4, [2, 1])]

    (circle,) = found(*locks)

    assert circle.message.count(" waits for ") == 4
    assert all(f"waits for {name}" in circle.message for name in "abc")
    assert "waits for d" not in circle.message


def test_two_circles_are_two_findings() -> None:
    assert len(found(lock("a", 1, [2]), lock("b", 2, [1]), lock("c", 3, [4]), lock("d", 4, [3]))) == 2


@pytest.mark.parametrize(
    "locks",
    [
        [lock("a", 1, [2, 3]), lock("b", 2, [3])],
        [lock("a", 1, [2]), lock("b", 2, [3]), lock("c", 3, [])],
        [lock("a", 1, [2]), lock("b", 2, [1], is_kept=True)],
        [lock("a", 1, [2]), lock("b", 2, [1], call="a batch")],
        [],
    ],
)
def test_runs_that_wait_in_line_are_left_alone(locks: list[Inspection]) -> None:
    assert not found(*locks)


def test_a_process_that_may_run_others_beside_is_a_warning() -> None:
    (circle,) = found(lock("a", 1, [2]), lock("b", 2, [1]), processes=[1])

    assert circle.level == "warning"


def test_a_run_that_waits_for_its_own_lock_is_found_where_a_process_runs_nothing_else() -> None:
    assert [each.level for each in found(lock("a", 1, [1]))] == ["error"]
    assert not found(lock("a", 1, [1]), processes=[])


def test_without_workers_a_circle_is_a_warning() -> None:
    class NoWorkers:
        contended = (lock("a", 1, [2]), lock("b", 2, [1]))

        @property
        def workers(self) -> None:
            raise CannotLook("no worker has answered within 1 s")

    assert [each.level for each in found_by("RL403", NoWorkers(), LIVE)] == ["warning"]


def test_a_circle_on_a_server_is_found_and_its_cure_ends_it(app: Celery, client: Any) -> None:
    one, other = (
        [RedisLock(client, f"redislock:{name}", metadata=who(pid)) for name in order]
        for pid, order in ((1, "ab"), (2, "ba"))
    )
    assert one[0].acquire()
    assert other[0].acquire()
    waiting = [Waiting(one[1], timeout=20), Waiting(other[1], timeout=20)]
    live = eventually(lambda: _with_two_waiters(app), 10, "both should wait")

    (circle,) = found_by("RL403", live, LIVE)

    name = circle.cure.split()[-1]
    assert RedisLock(client, name).force_release()
    freed, still = (waiting[0], waiting[1]) if name.endswith("b") else (waiting[1], waiting[0])
    assert freed.answer(within=20)
    first = one if freed is waiting[0] else other
    assert first[0].release()
    assert still.answer(within=20)
    assert first[1].release()
    assert (other if first is one else one)[1].release()


def _with_two_waiters(app: Celery) -> Live | None:
    live = Live(configured(app))
    live.workers = ()
    return live if sum(len(each.line) for each in live.contended) == 2 else None
