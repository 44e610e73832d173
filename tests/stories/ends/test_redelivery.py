"""Redelivery: a task that comes twice runs once at a time, is never lost, and keeps its result."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from typing import Any

import kombu
import pytest

from ...support.deadlines import eventually
from . import figures
from .rows import POOLS, shows
from .scenarios import Played, in_each_pool
from .stage import Stage, broker_keys, new_key, stage_with_worker, worker_for

#: Seconds after which the broker takes a task for lost.
VISIBLE = 5

RESTORES = {"broker_transport_options": {"visibility_timeout": VISIBLE}}
#: Known before a test asks for it, so that its scenario can begin early.
AMQP_URL = os.environ.get("AMQP_URL", "")


@contextmanager
def restoring(store: str, queue: str) -> Iterator[None]:
    """Look for lost messages twice a second, with kombu's own means, for the length of a ``with`` block.

    By itself kombu does so each 100 s; in pools of greenlets hardly ever, as no poll of theirs ends without
    an event; and how often can be told only since kombu 5.7.
    """
    options = {**RESTORES["broker_transport_options"], **broker_keys(queue)}
    done = threading.Event()

    def look() -> None:
        with kombu.Connection(f"{store}/1", transport_options=options) as connection:
            while not done.wait(0.5):
                connection.default_channel.qos.restore_visible(num=None, interval=1)

    with ThreadPoolExecutor(1) as threads:
        looking = threads.submit(look)
        try:
            yield
        finally:
            done.set()
    looking.result()


def outlives_the_timeout(store: str, queue: str, times: int, pool: str = "prefork") -> None:
    """Run tasks for longer than the broker waits for their acknowledgement."""
    # Twice as many processes as tasks, and another worker for a pool of one: a copy comes while the first
    # run goes on.
    with (
        stage_with_worker(store, queue, pool=pool, concurrency=2 * times, settings=RESTORES) as stage,
        worker_for(store, queue, pool, 2 * times, RESTORES) as other,
        restoring(store, queue),
    ):
        keys = [new_key() for _ in range(times)]
        began = time.monotonic()
        results = [stage.send("late", key, ["beat", 9], ["lock"], lock={"ttl": 3}) for key in keys]
        stored = [result.get(timeout=60) for result in results]
        took = time.monotonic() - began
        # Whatever copy there is comes within the lease and a second, and is dropped.
        eventually(lambda: is_drained(stage), 30, "all copies should be gone")

        logs = stage.worker.log() + other.log()
        assert "was delivered again while it holds" in logs, "nothing was delivered again"
        for key, result, value in zip(keys, results, stored, strict=True):
            overlaps = stage.journal.overlaps(key)
            assert len(stage.journal.entries(key, "begun")) == 1, "a copy ran too"
            assert result.state == "SUCCESS"
            assert result.result == value
            stage.runs_equal("late", key)
            figures.note("redelivered, alive", pool, "SUCCESS", took, overlaps, "Redis, 9 s body: until done")


def outlives_here(store: str, pool: str) -> None:
    outlives_the_timeout(store, f"alive-{pool}", 4 if pool == "prefork" else 1, pool)


def is_drained(stage: Stage) -> bool:
    """Whether no message waits, and none is unacknowledged."""
    return not stage.messages.llen(stage.queue) and not stage.unacknowledged()


@shows("redelivered, alive")
@in_each_pool("alive", outlives_here, quick=("prefork",))
def test_a_task_that_outlives_the_visibility_timeout_runs_once(scenario: str, played: Played) -> None:
    played[scenario].result()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_twenty_tasks_that_outlive_the_visibility_timeout_run_once(store: str) -> None:
    for turn in range(2):
        outlives_the_timeout(store, f"alive-{turn}", 10)


def worker_dies(
    store: str, queue: str, settings: Mapping[str, Any], times: int, pool: str = "prefork"
) -> None:
    """Kill a worker under late-acknowledged tasks, and have another take over."""
    settings = {**settings, **({} if "broker_url" in settings else RESTORES)}
    with stage_with_worker(store, queue, pool=pool, concurrency=times, settings=settings) as stage:
        keys = [new_key() for _ in range(times)]
        # Longer than it takes until all have begun.
        results = [
            stage.send("late", key, ["beat", 3 + times / 4], ["give", 1], lock={"ttl": 4}) for key in keys
        ]
        for key, result in zip(keys, results, strict=True):
            stage.begun(key, result)
        stage.worker.send_signal(signal.SIGKILL)
        died = time.monotonic()
        stage.worker.wait()
        broker = nullcontext() if "broker_url" in settings else restoring(store, queue)
        with broker, worker_for(store, queue, pool, times, settings):
            for key, result in zip(keys, results, strict=True):
                assert result.get(timeout=60) == 1
                assert len(stage.journal.entries(key, "begun")) == 2
                took = stage.journal.entries(key, "ended")[-1]["at"] - died
                overlaps = stage.journal.overlaps(key)
                where = "RabbitMQ" if "broker_url" in settings else "Redis"
                how = f"{where}, lease 4 s: until done"
                figures.note("redelivered, dead", pool, result.state, took, overlaps, how)
                assert overlaps == 0
                stage.runs_equal("late", key)


def dies_over_redis(store: str, pool: str) -> None:
    worker_dies(store, f"dead-redis-{pool}", {}, 1, pool)


@shows("redelivered, dead")
@in_each_pool("dead-redis", dies_over_redis, quick=("prefork",))
def test_a_task_whose_worker_died_completes_with_redis_as_the_broker(scenario: str, played: Played) -> None:
    played[scenario].result()


def over_rabbitmq(store: str, amqp_url: str, times: int, pool: str = "prefork") -> None:
    queue = f"dead-{new_key()}"
    try:
        worker_dies(store, queue, {"broker_url": amqp_url}, times, pool)
    finally:
        with kombu.Connection(amqp_url) as connection:
            connection.default_channel.queue_delete(queue)


def over_the_rabbitmq_that_is_named(store: str, pool: str) -> None:
    if AMQP_URL:
        over_rabbitmq(store, AMQP_URL, 1, pool)


@shows("redelivered, dead")
@in_each_pool("dead-rabbitmq", over_the_rabbitmq_that_is_named, quick=("prefork",))
def test_a_task_whose_worker_died_completes_with_rabbitmq_as_the_broker(
    scenario: str, store: str, amqp_url: str, played: Played
) -> None:
    if AMQP_URL:
        played[scenario].result()
    else:
        over_rabbitmq(store, amqp_url, 1, scenario.rpartition("-")[2])


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("broker", ["redis", "rabbitmq"])
def test_twenty_tasks_whose_worker_died_complete(
    broker: str, store: str, request: pytest.FixtureRequest
) -> None:
    if broker == "redis":
        worker_dies(store, "dead-redis-many", {}, 20)
    else:
        over_rabbitmq(store, request.getfixturevalue("amqp_url"), 20)


@shows("redelivered, done")
@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("end", ["give", "raise"])
def test_a_finished_task_that_is_delivered_again_is_dropped_and_keeps_its_result(
    end: str, pool: str, stage_of: Callable[[str], Stage]
) -> None:
    stage, key = stage_of(pool), new_key()
    result = stage.hold("late", key, ["gate", key], [end, *([1] if end == "give" else [])])
    message = stage.message_of(result)
    stage.journal.open(key)
    state, value = stage.state_of(result), stage.app.AsyncResult(result.id).result

    for _ in range(2):
        log_before = stage.worker.log().count("after it had finished: dropped")
        stage.deliver_again(message)
        eventually(lambda: stage.worker.log().count("after it had finished: dropped") > log_before)  # noqa: B023

    again = stage.app.AsyncResult(result.id)
    assert stage.state_of(again) == state
    assert str(again.result) == str(value)
    assert len(stage.journal.entries(key, "begun")) == 1
    stage.runs_equal("late", key)
    figures.note("redelivered, done", pool, state, None, stage.journal.overlaps(key), "twice")


def test_a_copy_that_comes_while_the_first_run_goes_on_is_put_off_and_then_dropped(stage: Stage) -> None:
    key = new_key()
    result = stage.hold("late", key, ["gate", key], ["give", 1], lock={"ttl": 1.5})
    stage.deliver_again(stage.message_of(result))
    stage.worker.wait_for_log(f"[{result.id}] was delivered again while it holds lock")
    stage.journal.open(key)

    assert result.get(timeout=10) == 1
    stage.worker.wait_for_log(f"[{result.id}] was delivered again after it had finished: dropped")
    assert result.state == "SUCCESS"
    assert len(stage.journal.entries(key, "begun")) == 1


def test_a_dropped_copy_does_not_keep_the_lock_for_its_min_hold(stage: Stage) -> None:
    key = new_key()
    result = stage.hold("late", key, ["gate", key], ["give", 1], lock={"min_hold": 1})
    message = stage.message_of(result)
    stage.journal.open(key)
    assert result.get(timeout=10) == 1
    stage.free_at("late", key, 3)

    stage.deliver_again(message)
    stage.worker.wait_for_log(f"[{result.id}] was delivered again after it had finished: dropped")

    stage.free_at("late", key, 0.5)


@shows("redelivered, another")
@pytest.mark.parametrize("pool", POOLS)
def test_a_copy_that_meets_the_lock_of_another_task_follows_the_policy(
    pool: str, stage_of: Callable[[str], Stage]
) -> None:
    stage, key = stage_of(pool), new_key()
    first = stage.hold("late", key, ["gate", key], ["give", 1])
    message = stage.message_of(first)
    stage.journal.open(key)
    assert first.get(timeout=10) == 1
    name = stage.lock_name("late", key)
    # With another worker: the one process of a solo worker is to meet it.
    holder = stage_of("prefork").hold("late", key, ["gate", key])

    stage.deliver_again(message)

    conflict = stage.journal.wait_for(name, "conflict", id=first.id)
    assert conflict["action"] == "skip"
    stage.journal.open(key)
    assert stage.state_of(holder) == "SUCCESS"
    stage.runs_equal("late", key)
    overlaps = stage.journal.overlaps(key)
    figures.note("redelivered, another", pool, stage.state_of(first), None, overlaps, "finished before; skip")
    assert overlaps == 0
