"""Shutdown: a worker is told to stop, in each way and pool; its locks last as long as its bodies."""

from __future__ import annotations

import json
import signal
import time
from typing import Any

from ...support.versions import IS_5_4, not_with_5_4
from . import figures
from .rows import ROWS, shows
from .scenarios import Played, in_each_pool
from .stage import Stage, broker_keys, new_key, stage_with_worker, worker_for

#: Seconds that a machine with two busy cores may take for what the contract says is at once, and until a
#: parent notices the end of its child.
AT_ONCE, NOTICED = 5.0, 6.0

NOT_IN_SOLO = "FAILURE (NotImplementedError)"

#: What Celery 5.4 stores, whose cold shutdown does not give back what it interrupts: by its billiard.
KILLED = ("FAILURE (WorkerLostError)", "PENDING")


def lets_finish(store: str, pool: str, row: str, number: signal.Signals, task: str = "plain") -> None:
    """Tell a worker to stop in a way that lets its body end."""
    key, ttl, queue = new_key(), 1.5, f"{row}-{pool}-{task}"
    settings = {"worker_soft_shutdown_timeout": 8} if row == "soft shutdown" else {}
    with stage_with_worker(store, queue, pool=pool, concurrency=2, settings=settings) as stage:
        result = stage.hold(task, key, ["beat", 4], ["give", 1], lock={"ttl": ttl})
        name = stage.lock_name(task, key)
        token = stage.locks.get(name)
        stage.worker.send_signal(number)
        while not stage.journal.entries(key, "ended"):
            owner = stage.locks.get(name)
            assert owner == token or stage.journal.entries(key, "ended"), "the lock was not renewed"
            time.sleep(0.02)
        ended = stage.ended(key, result, error=None)["at"]
        took = max(0.0, stage.free_at(task, key, AT_ONCE) - ended)
        assert result.get(timeout=10) == 1
        stage.worker.wait()
        _leaves_no_lock(stage, queue, pool, task, key)
        overlaps = stage.journal.overlaps(key)
        figures.note(row, pool, "SUCCESS", took, overlaps, f"{acknowledges(task)}, lease {ttl:g} s, body 4 s")
        assert overlaps == 0


def acknowledges(task: str) -> str:
    return "late ack" if task == "late" else "early ack"


def _leaves_no_lock(stage: Stage, queue: str, pool: str, task: str, key: str) -> None:
    """Have an equal task run at the next worker, after what the first one left to be delivered again."""
    stage.messages.delete(queue, broker_keys(queue)["unacked_key"], broker_keys(queue)["unacked_index_key"])
    with worker_for(store_of(stage), queue, pool):
        stage.runs_equal(task, key)


def store_of(stage: Stage) -> str:
    return str(stage.app.conf.broker_url).rpartition("/")[0]


@shows("warm shutdown")
@in_each_pool("warm", lets_finish, row="warm shutdown", number=signal.SIGTERM, quick=("prefork",))
def test_a_warm_shutdown_keeps_and_renews_the_lock_until_the_body_ends(scenario: str, played: Played) -> None:
    played[scenario].result()


@shows("soft shutdown")
@in_each_pool(
    "soft",
    lets_finish,
    row="soft shutdown",
    number=signal.SIGQUIT,
    pools=ROWS["soft shutdown"].pools,
    quick=("prefork",),
)
@not_with_5_4("it has no soft shutdown")
def test_a_soft_shutdown_keeps_and_renews_the_lock_until_the_body_ends(scenario: str, played: Played) -> None:
    played[scenario].result()


@shows("cold shutdown of threads")
@in_each_pool(
    "cold-late",
    lets_finish,
    row="cold shutdown of threads",
    number=signal.SIGQUIT,
    task="late",
    pools=("threads",),
    quick=(),
)
def test_a_cold_shutdown_of_threads_waits_for_the_body(scenario: str, played: Played) -> None:
    played[scenario].result()


def ends_body(store: str, pool: str, row: str, states: tuple[str, ...], task: str, soft_s: float = 0) -> None:
    """Tell a worker to stop in a way that ends its body."""
    key, queue = new_key(), f"{row}-{pool}-{task}-{soft_s}"
    settings = {"worker_soft_shutdown_timeout": soft_s} if soft_s else {}
    with stage_with_worker(store, queue, pool=pool, concurrency=2, settings=settings) as stage:
        result = stage.hold(task, key, ["doze", 60], lock={"ttl": 1.5})
        stage.worker.send_signal(signal.SIGQUIT)
        at = time.monotonic() + soft_s
        took = max(0.0, stage.free_at(task, key, NOTICED + soft_s) - at)
        stage.worker.wait()
        state = stage.state_of(result, none_is_fine=True) or result.state
        for kept in stage.messages.lrange(queue, 0, -1):
            assert task == "late", "an early-acknowledged task is delivered again"
            assert json.loads(kept)["headers"]["id"] == result.id
        _leaves_no_lock(stage, queue, pool, task, key)
        overlaps = stage.journal.overlaps(key)
        how = acknowledges(task) + (f", soft, {soft_s:g} s" if soft_s else "")
        figures.note(row, pool, state, took, overlaps, how)
        assert state in states
        assert overlaps == 0


def cold(name: str, row: str, quick: tuple[str, ...] = (), **given: Any) -> Any:
    return in_each_pool(name, ends_body, row=row, pools=ROWS[row].pools, quick=quick, **given)


@shows("cold shutdown")
@cold("cold-early", "cold shutdown", ("prefork",), states=KILLED if IS_5_4 else ("RETRY",), task="plain")
def test_a_cold_shutdown_frees_the_lock_when_the_body_is_ended(scenario: str, played: Played) -> None:
    played[scenario].result()


@shows("cold shutdown")
@cold("cold-late", "cold shutdown", ("prefork",), states=KILLED if IS_5_4 else ("PENDING",), task="late")
def test_a_cold_shutdown_frees_the_lock_of_a_late_acknowledged_task(scenario: str, played: Played) -> None:
    played[scenario].result()


@shows("cold shutdown of greenlets")
@cold("cold-greenlets", "cold shutdown of greenlets", states=("PENDING",), task="plain")
def test_a_cold_shutdown_frees_the_lock_when_the_greenlet_is_ended(scenario: str, played: Played) -> None:
    played[scenario].result()


@shows("cold shutdown of solo")
@cold("cold-solo", "cold shutdown of solo", states=(NOT_IN_SOLO,), task="plain")
def test_a_cold_shutdown_of_solo_frees_the_lock_when_the_body_is_ended(scenario: str, played: Played) -> None:
    played[scenario].result()


@shows("cold shutdown of solo")
@cold("soft-solo", "cold shutdown of solo", states=(NOT_IN_SOLO,), task="plain", soft_s=4)
@not_with_5_4("it has no soft shutdown")
def test_a_soft_shutdown_of_solo_frees_the_lock_when_the_body_is_ended(scenario: str, played: Played) -> None:
    played[scenario].result()
