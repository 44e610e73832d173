"""Holds: locks that keep nothing apart, that are lost, and that are held for too long."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import redis
from celery import Celery

from celery_redislock import RedisLock
from celery_redislock.doctor import holds
from celery_redislock.doctor.configuration import Configuration
from celery_redislock.engine.protocol.keys import keys_of

from ...support.applications import locked
from .histories import Counts, history, task_numbers

TASK = "shop.import"


def body(path: str, at: float) -> None:
    """A task with a time among its arguments."""


class TestNeverShared:
    def found(self, app: Celery, runs: int, locks: int, counts: Counts | None = None, **options: Any) -> Any:
        locked(app, body, name=TASK, **options)
        numbers = task_numbers({("acquired", "at_once"): runs, **(counts or {})}, locks)
        return list(holds.never_shared(history(app, {TASK: numbers})))

    def test_a_lock_of_its_own_for_each_run_is_found(self, unreached: Celery) -> None:
        [problem] = self.found(unreached, 1000, 990)

        assert "1000 runs took 990 different locks" in problem.message
        assert problem.cure == 'lock_args=["path", "at"] # without those that differ in each call'

    @pytest.mark.parametrize(
        ("runs", "locks", "counts", "options"),
        [
            pytest.param(1000, 500, {}, {}, id="locks that are taken again"),
            pytest.param(199, 199, {}, {}, id="too few to say"),
            pytest.param(1000, 1000, {("conflicts", "skip"): 1}, {}, id="a conflict"),
            pytest.param(1000, 1000, {("conflicts", "not_published"): 1}, {}, id="not published"),
            pytest.param(1000, 1000, {("acquired", "waited"): 1}, {}, id="one has waited"),
            pytest.param(1000, 1000, {}, {"lock_args": ["path"]}, id="chosen arguments"),
            pytest.param(1000, 1000, {}, {"lock_key": "import:{path}"}, id="a key"),
        ],
    )
    def test_a_lock_that_keeps_runs_apart_is_left_alone(
        self, unreached: Celery, runs: int, locks: int, counts: Counts, options: dict[str, Any]
    ) -> None:
        assert not self.found(unreached, runs, locks, counts, **options)


class TestLost:
    def found(self, app: Celery, counts: Counts, **options: Any) -> Any:
        locked(app, body, name=TASK, **options)
        return list(holds.lost(history(app, {TASK: task_numbers(counts)})))

    def test_losses_are_told_by_reason(self, unreached: Celery) -> None:
        [problem] = self.found(unreached, {("lost", "expired"): 2, ("lost", "forced"): 1}, lock_ttl=10)

        assert problem.message == f"{TASK} has lost its lock 3 times in the last day: 2 expired, 1 forced"
        assert problem.cure.startswith("lock_ttl=30 ")
        assert problem.level == ""

    @pytest.mark.parametrize("reason", ["expired", "cut_off", "taken", "max_hold"])
    def test_each_reason_has_its_cure(self, unreached: Celery, reason: str) -> None:
        [problem] = self.found(unreached, {("lost", reason): 1})

        assert f"once in the last day: 1 {reason}" in problem.message
        assert problem.cure

    def test_a_lock_that_only_people_took_is_a_warning(self, unreached: Celery) -> None:
        [problem] = self.found(unreached, {("lost", "forced"): 1})

        assert problem.level == "warning"

    @pytest.mark.parametrize("counts", [{}, {("lost", "replaced"): 5}, {("acquired", "at_once"): 5}])
    def test_runs_that_kept_their_lock_are_left_alone(self, unreached: Celery, counts: Counts) -> None:
        assert not self.found(unreached, counts)


class TestStuck:
    def found(
        self, app: Celery, client: redis.Redis, held_s: float, hold: list[float], expire_s: float = 30.0
    ) -> Any:
        locked(app, body, name=TASK)
        lock = RedisLock(client, "redislock:shop.import", expire=expire_s, metadata={"task": TASK, "id": "7"})
        assert lock.acquire()
        _taken_before(client, lock.name, held_s)
        live = SimpleNamespace(
            configured=Configuration(app), client=client, provider=SimpleNamespace(prefix="redislock:")
        )
        return list(holds.stuck(history(app, {TASK: task_numbers(hold=hold)}, live=live)))

    def test_a_run_that_goes_on_and_on_is_found(self, unreached: Celery, fake_client: redis.Redis) -> None:
        [problem] = self.found(unreached, fake_client, 1000, [100] * 50)

        assert f"{TASK}[7] on" in problem.message
        assert "has held redislock:shop.import for 1000 s" in problem.message
        assert problem.cure == "celery -A APP locks release --force redislock:shop.import"

    @pytest.mark.parametrize(
        ("held_s", "hold", "expire_s"),
        [
            pytest.param(250, [1] * 50, 30, id="shorter than five minutes"),
            pytest.param(1000, [400] * 50, 30, id="usual"),
            pytest.param(1000, [], 30, id="no numbers"),
        ],
    )
    def test_a_run_that_may_take_so_long_is_left_alone(
        self, unreached: Celery, fake_client: redis.Redis, held_s: float, hold: list[float], expire_s: float
    ) -> None:
        assert not self.found(unreached, fake_client, held_s, hold, expire_s)


def _taken_before(client: redis.Redis, name: str, ago_s: float) -> None:
    """Have the holder's record say that the lock was taken so long ago, seconds."""
    record: Any = client.get(keys_of(name).holder)
    token, number, since_ms, rest = record.split(b" ", 3)
    earlier = b"%d" % (int(since_ms) - ago_s * 1000)
    client.set(keys_of(name).holder, b" ".join((token, number, earlier, rest)))
