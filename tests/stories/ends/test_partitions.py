"""Partitions: worker and Redis lose each other, a process stands still, a worker dies."""

from __future__ import annotations

import os
import signal
import time

from ...support.proxy import Proxy
from . import figures
from .rows import shows
from .scenarios import Played, in_each_pool, plays
from .stage import new_key, stage_with_worker, worker_for

#: Seconds that a machine with two busy cores may add to the end of a lease.
SLACK = 1.0
#: The same for what the contract says is at once.
AT_ONCE = 5.0


def worker_killed(store: str, pool: str) -> None:
    key, ttl, queue = new_key(), 2.0, f"doomed-{pool}"
    with stage_with_worker(store, queue, pool=pool, concurrency=2) as stage:
        result = stage.hold("plain", key, ["beat", 60], lock={"ttl": ttl})
        stage.worker.send_signal(signal.SIGKILL)
        died = time.monotonic()
        took = stage.free_at("plain", key, ttl + SLACK) - died
        stage.worker.wait()
        with worker_for(store, queue, pool):
            stage.runs_equal("plain", key)
        overlaps = stage.journal.overlaps(key)
        figures.note("worker killed", pool, result.state, took, overlaps, f"lease {ttl:g} s")
        assert took <= ttl + 0.1
        assert overlaps == 0


@shows("worker killed")
@in_each_pool("killed", worker_killed, quick=("prefork", "threads"))
def test_the_lock_of_a_killed_worker_is_free_at_the_end_of_its_lease(scenario: str, played: Played) -> None:
    played[scenario].result()


def stopped(store: str) -> None:
    key, ttl = new_key(), 1.5
    with stage_with_worker(store, "stopped", concurrency=2) as stage:
        result = stage.hold("plain", key, ["until lost", 60], lock={"ttl": ttl})
        pid = stage.begun(key, result)["pid"]
        os.kill(pid, signal.SIGSTOP)
        at = time.monotonic()
        took = stage.free_at("plain", key, ttl + SLACK) - at
        stage.runs_equal("plain", key)

        os.kill(pid, signal.SIGCONT)
        woken = time.monotonic()

        told = stage.ended(key, result, error="LockLost")["at"] - woken
        assert stage.state_of(result) == "FAILURE (LockLost)"
        figures.note("stopped", "prefork", "FAILURE (LockLost)", took, how=f"the child, lease {ttl:g} s")
        figures.note("stopped: told after SIGCONT", "prefork", "FAILURE (LockLost)", told, how="the child")
        assert told < ttl / 3 + SLACK
        stage.runs_equal("plain", key)


def suspended(store: str, pool: str) -> None:
    key, ttl = new_key(), 1.5
    with stage_with_worker(store, f"suspended-{pool}", pool=pool, concurrency=2) as stage:
        result = stage.hold("plain", key, ["until lost", 60], lock={"ttl": ttl})
        stage.worker.pause()
        at = time.monotonic()
        next_one = stage.app.tasks["plain"].lock_for(key)
        assert next_one.acquire(blocking=True, timeout=ttl + SLACK)
        took = time.monotonic() - at

        stage.worker.resume()
        woken = time.monotonic()

        told = stage.ended(key, result, error="LockLost")["at"] - woken
        assert stage.state_of(result) == "FAILURE (LockLost)"
        assert told < ttl / 3 + SLACK
        assert next_one.owned(), "the worker that woke up took the lock back"
        assert next_one.release()
        stage.runs_equal("plain", key)
        how = "the whole worker"
        figures.note("stopped", pool, "FAILURE (LockLost)", took, how=f"{how}, lease {ttl:g} s")
        figures.note("stopped: told after SIGCONT", pool, "FAILURE (LockLost)", told, how=how)


@shows("stopped")
@plays(stopped=stopped)
def test_a_child_that_stood_still_longer_than_its_lease_is_told_when_it_wakes_up(played: Played) -> None:
    played["stopped"].result()


@shows("stopped")
@in_each_pool("suspended", suspended, quick=("threads",))
def test_a_worker_that_stood_still_longer_than_its_lease_is_told_when_it_wakes_up(
    scenario: str, played: Played
) -> None:
    played[scenario].result()


def cut_off(store: str, how: str, pool: str) -> None:
    key, ttl = new_key(), 5.0
    with Proxy(int(store.rpartition(":")[2])) as proxy:
        settings = {"redislock_url": proxy.url}
        with stage_with_worker(store, f"{how}-{pool}", pool=pool, concurrency=2, settings=settings) as stage:
            stage.app.conf.redislock_url = f"{store}/0"
            result = stage.hold("plain", key, ["until lost", 60], lock={"ttl": ttl})
            getattr(proxy, how)()
            at = time.monotonic()

            next_one = stage.app.tasks["plain"].lock_for(key)
            assert next_one.acquire(blocking=True, timeout=ttl + SLACK)
            begins = time.monotonic()
            told = stage.ended(key, result, error="LockLost")["at"]
            reports = stage.journal.entries(key, "saw the loss")
            # Interrupted before it looked at the lock, the body knows by that.
            saw = reports[-1]["saw"] if reports else told
            assert next_one.release()
            proxy.heal()

            state = stage.state_of(result)
            lease = f"{how}, lease {ttl:g} s"
            figures.note("cut off", pool, state, begins - at, int(told >= begins), lease)
            figures.note("cut off: seen before the next begins by", pool, state, begins - saw, how=how)
            figures.note("cut off: told before the next begins by", pool, state, begins - told, how=how)
            assert saw < begins, "another held the lock before the body could know"
            assert told < begins, "another held the lock before the body was told"
            assert state == "FAILURE (LockLost)"
            stage.runs_equal("plain", key)


@shows("cut off")
@in_each_pool("cut", cut_off, how="cut", quick=("prefork",))
def test_a_body_whose_connections_are_cut_knows_of_its_loss_before_another_can_begin(
    scenario: str, played: Played
) -> None:
    played[scenario].result()


@shows("cut off")
@in_each_pool("blackhole", cut_off, how="blackhole", quick=("prefork", "threads", "gevent"))
def test_a_body_whose_network_is_silent_knows_of_its_loss_before_another_can_begin(
    scenario: str, played: Played
) -> None:
    played[scenario].result()


def short_outage(store: str, pool: str) -> None:
    key, ttl = new_key(), 6.0
    with Proxy(int(store.rpartition(":")[2])) as proxy:
        settings = {"redislock_url": proxy.url}
        queue = f"outage-{pool}"
        with stage_with_worker(store, queue, pool=pool, concurrency=2, settings=settings) as stage:
            result = stage.hold("plain", key, ["until lost", 5], lock={"ttl": ttl})
            time.sleep(1.5)  # the next renewal is due within the outage
            proxy.cut()
            time.sleep(2)
            proxy.heal()

            assert result.get(timeout=20) == "kept"
            took = max(0.0, stage.free_at("plain", key, AT_ONCE) - stage.ended(key, result)["at"])
            assert "could not renew" in stage.worker.log()
            stage.runs_equal("plain", key)
            overlaps = stage.journal.overlaps(key)
            figures.note("short outage", pool, "SUCCESS", took, overlaps, f"2 s, lease {ttl:g} s")
            assert overlaps == 0


@shows("short outage")
@in_each_pool("short", short_outage, quick=("prefork",))
def test_an_outage_shorter_than_the_lease_does_nothing_to_a_run(scenario: str, played: Played) -> None:
    played[scenario].result()
