"""Measured: durations that do not fit how long runs, waits and renewals really take."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from celery import Celery

from celery_redislock.doctor import measured
from celery_redislock.doctor.configuration import Configuration
from celery_redislock.doctor.rule import CannotLook
from celery_redislock.doctor.workers import Clock, Worker

from ...support.applications import locked
from .histories import engine_numbers, history, task_numbers

TASK = "shop.import"


@pytest.fixture
def app(unreached: Celery) -> Celery:
    unreached.conf.broker_url = "redis://localhost"
    return unreached


def has(app: Celery, **options: Any) -> None:
    locked(app, lambda: None, name=TASK, **options)


class Workers:
    """What runs now: one worker for each of these pools; none answers if there are none."""

    def __init__(self, app: Celery, *pools: str) -> None:
        self.configured = Configuration(app)
        self._pools = pools

    @property
    def workers(self) -> tuple[Worker, ...]:
        """The workers that answer."""
        if not self._pools:
            raise CannotLook("no worker has answered")
        return tuple(
            Worker(f"w{number}@host", {"pool": pool}, Clock(0.0, 0.0))
            for number, pool in enumerate(self._pools, 1)
        )


class TestDeliveredAgain:
    def test_a_task_that_outlasts_the_visibility_timeout_is_found(self, app: Celery) -> None:
        has(app, acks_late=True)
        [problem] = measured.delivered_again(history(app, {TASK: task_numbers(hold=[60] * 90 + [4000] * 10)}))

        assert "(p99 of its runs), but after a visibility_timeout of 3600 s" in problem.message
        exec(problem.cure, {"app": app})
        assert not list(measured.delivered_again(history(app, {TASK: task_numbers(hold=[4000] * 100)})))

    @pytest.mark.parametrize("options", [{"acks_late": False}, {"acks_late": True, "hold": 60}])
    def test_a_task_that_is_delivered_once_is_left_alone(self, app: Celery, options: dict[str, Any]) -> None:
        hold_s = options.pop("hold", 4000)
        has(app, **options)

        assert not list(measured.delivered_again(history(app, {TASK: task_numbers(hold=[hold_s] * 100)})))

    def test_a_broker_without_a_visibility_timeout_is_left_alone(self, app: Celery) -> None:
        app.conf.broker_url = "amqp://localhost"
        has(app, acks_late=True)

        assert not list(measured.delivered_again(history(app, {TASK: task_numbers(hold=[4000] * 100)})))


class TestReservedTooLong:
    def test_messages_that_age_in_a_worker_are_found(self, app: Celery) -> None:
        has(app, acks_late=True)
        [problem] = measured.reserved_too_long(history(app, {TASK: task_numbers(hold=[1000] * 50)}))

        assert "reserves 4 messages for each process" in problem.message
        assert problem.cure == "app.conf.worker_prefetch_multiplier = 1"

    @pytest.mark.parametrize(
        ("ahead", "late", "hold_s", "runs"), [(1, True, 1000, 50), (4, False, 1000, 50), (4, True, 800, 50)]
    )
    def test_messages_that_do_not_age_are_left_alone(
        self, app: Celery, ahead: int, late: bool, hold_s: float, runs: int
    ) -> None:
        has(app, acks_late=late)
        app.conf.worker_prefetch_multiplier = ahead

        assert not list(measured.reserved_too_long(history(app, {TASK: task_numbers(hold=[hold_s] * runs)})))


class TestLeaseShorterThanAStall:
    def test_a_lease_that_a_stall_may_end_is_found(self, app: Celery) -> None:
        has(app, lock_ttl=10)
        [problem] = measured.lease_shorter_than_a_stall(history(app, engine=engine_numbers(0.01, 4.0)))

        assert "lock_ttl of shop.import is 10 s" in problem.message
        assert problem.cure in ("lock_ttl=20", "lock_ttl=10")

    @pytest.mark.parametrize("late_s", [(), (0.01,), (2.0,)])
    def test_a_lease_with_room_is_left_alone(self, app: Celery, late_s: tuple[float, ...]) -> None:
        has(app, lock_ttl=10)

        assert not list(measured.lease_shorter_than_a_stall(history(app, engine=engine_numbers(*late_s))))

    @pytest.mark.parametrize(
        ("pools", "told"),
        [
            (("prefork", "gevent"), "w2@host runs gevent, where a body that computes"),
            (("prefork",), ""),
            ((), ""),
        ],
    )
    def test_workers_in_which_a_body_that_computes_is_the_cause_are_named(
        self, app: Celery, pools: tuple[str, ...], told: str
    ) -> None:
        has(app, lock_ttl=10)
        seen = history(app, engine=engine_numbers(4.0), live=Workers(app, *pools))

        [problem] = measured.lease_shorter_than_a_stall(seen)

        assert told in problem.message
        assert ("gevent" in problem.message, "-P prefork" in problem.cure) == (bool(told), bool(told))


class TestHoldShorterThanRuns:
    def test_runs_that_outlast_their_longest_hold_are_found(self, app: Celery) -> None:
        has(app, lock_max_hold=60)
        numbers = task_numbers(
            {("acquired", "at_once"): 100, ("lost", "max_hold"): 7}, hold=[30] * 93 + [60] * 7
        )
        [problem] = measured.hold_shorter_than_runs(history(app, {TASK: numbers}))

        assert "7 runs have lost their lock by it" in problem.message
        assert problem.cure in ("lock_max_hold=120", "lock_max_hold=180")

    @pytest.mark.parametrize("options", [{"lock_max_hold": 60}, {}])
    def test_runs_that_end_in_time_are_left_alone(self, app: Celery, options: dict[str, Any]) -> None:
        has(app, **options)
        numbers = task_numbers({("acquired", "at_once"): 100}, hold=[30] * 100)

        assert not list(measured.hold_shorter_than_runs(history(app, {TASK: numbers})))


class TestPublishLockShorterThanTheQueue:
    def test_a_publish_lock_that_ends_in_the_queue_is_found(self, app: Celery) -> None:
        has(app, lock_scope="task", lock_queue_ttl=60)
        [problem] = measured.publish_lock_shorter_than_the_queue(
            history(app, {TASK: task_numbers(queue=[1] * 90 + [100] * 10)})
        )

        assert "lock_queue_ttl is 60 s" in problem.message

    @pytest.mark.parametrize(("scope", "queue_s"), [("run", 100), ("task", 30)])
    def test_a_queue_that_is_short_enough_is_left_alone(
        self, app: Celery, scope: str, queue_s: float
    ) -> None:
        has(app, lock_scope=scope, lock_queue_ttl=60)

        assert not list(
            measured.publish_lock_shorter_than_the_queue(
                history(app, {TASK: task_numbers(queue=[queue_s] * 100)})
            )
        )


class TestBatchShorterThanItsWaits:
    def test_a_batch_that_lost_its_lock_while_it_waited_is_found(self, app: Celery) -> None:
        numbers = replace(task_numbers({("lapsed", ""): 3}), idle_s=300.0)
        [problem] = measured.batch_shorter_than_its_waits(history(app, {"shop.load": numbers}))

        assert problem.message.startswith("3 times a batch had lost its lock when its member shop.load began")
        assert "lock_idle of 300 s" in problem.message
        assert problem.cure.startswith("lock_idle=600 ")

    def test_a_batch_that_has_kept_its_lock_is_left_alone(self, app: Celery) -> None:
        numbers = task_numbers({("acquired", "at_once"): 3}, queue=[4000] * 100)

        assert not list(measured.batch_shorter_than_its_waits(history(app, {"shop.load": numbers})))
