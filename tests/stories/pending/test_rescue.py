"""Rescue: a wanted run whose lock nobody releases any more is published all the same."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest
import redis

from ...support.deadlines import eventually
from ..ends.stage import Stage, new_key
from .conftest import worker
from .pending_checks import is_met

TTL = 2.0
#: Seconds between two looks of a worker's step, and what a busy machine may add.
LOOKS, SLACK = 2.5, 3.0


def test_a_wanted_run_survives_the_death_of_the_worker_that_holds_the_lock(stage: Stage, store: str) -> None:
    """The holder's host dies with all its processes; the lease ends, and another worker publishes."""
    key = new_key()
    with worker(store, "doomed") as doomed:
        holder = stage.send("latest", key, ["sleep", 60], queue="doomed", lock={"ttl": TTL})
        stage.begun(key, holder)
        trigger = stage.send("latest", key, ["give", 7])
        eventually(lambda: is_met(stage, key, trigger))
        doomed.kill()
    killed = time.monotonic()

    assert trigger.get(timeout=20) == 7
    assert time.monotonic() - killed < TTL + LOOKS + SLACK


def test_a_wanted_run_survives_the_death_of_all_workers(stage: Stage, store: str) -> None:
    key = new_key()
    with worker(store, "doomed") as doomed:
        holder = stage.send("latest", key, ["sleep", 60], queue="doomed", lock={"ttl": TTL})
        stage.begun(key, holder)
        trigger = stage.send("latest", key, ["give", 7], queue="doomed")
        eventually(lambda: is_met(stage, key, trigger))
        doomed.kill()
    with worker(store, "doomed"):
        assert trigger.get(timeout=20) == 7


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo", "gevent"])
def test_the_worker_of_each_pool_publishes_what_another_program_left_wanted(
    pool: str, stage_of: Callable[..., Stage]
) -> None:
    """A program that knows only ``SET NX PX`` tells nobody that it has released."""
    stage, key = stage_of(pool), new_key()
    name = stage.lock_name("latest", key)
    assert stage.locks.set(name, "another program's", nx=True, px=60_000)
    trigger = stage.send("latest", key, ["give", 7])
    eventually(lambda: is_met(stage, key, trigger))

    stage.locks.delete(name)

    assert trigger.get(timeout=20) == 7


def test_a_lock_kept_for_its_min_hold_is_really_free_when_the_wanted_run_comes(stage: Stage) -> None:
    key = new_key()
    holder = stage.hold("latest", key, ["gate", key], lock={"min_hold": 3})
    taken = stage.begun(key, holder)["at"]
    triggers = []
    for number in range(3):
        triggers.append(stage.send("latest", key, ["give", number]))
        eventually(
            lambda: is_met(stage, key, triggers[-1]), message="it should meet the lock before the next"
        )
    stage.journal.open(key)

    assert triggers[-1].get(timeout=20) == 2
    begun = stage.journal.entries(key, "begun")
    assert [entry["id"] for entry in begun] == [holder.id, triggers[-1].id]
    assert 3 - 0.5 < begun[-1]["at"] - taken < 3 + LOOKS + SLACK


def test_an_operator_who_takes_the_lock_away_has_the_wanted_run_published(stage: Stage, store: str) -> None:
    key = new_key()
    holder = stage.hold("latest", key, ["until lost", 30], lock={"on_lost": "continue"})
    trigger = stage.send("latest", key, ["give", 7])
    eventually(lambda: is_met(stage, key, trigger))

    stage.app.tasks["latest"].lock_for(key).force_release()

    assert trigger.get(timeout=20) == 7
    assert holder.get(timeout=20) == "lost"


def test_the_index_forgets_a_lock_of_which_nothing_is_wanted_any_more(stage: Stage) -> None:
    key = new_key()
    stage.hold("latest", key, ["gate", key])
    trigger = stage.send("latest", key, ["give", 7])
    eventually(lambda: is_met(stage, key, trigger))
    index = "redislock.index:{redislock:}"
    assert stage.locks.zscore(index, stage.lock_name("latest", key))

    stage.journal.open(key)

    assert trigger.get(timeout=20) == 7
    eventually(lambda: stage.locks.zscore(index, stage.lock_name("latest", key)) is None, 20)


def test_an_idle_worker_costs_redis_one_small_request_every_two_seconds(stage: Stage) -> None:
    """Counted by the server: all other requests of locks come from tasks, and there are none."""
    client = redis.Redis(connection_pool=stage.locks.connection_pool)
    eventually(lambda: client.zcard("redislock.index:{redislock:}") == 0, 30)

    def asked() -> int:
        return int(client.info("commandstats").get("cmdstat_evalsha", {}).get("calls", 0))

    workers = sum("celery_redislock" in entry["name"] for entry in client.client_list())
    before, began = asked(), time.monotonic()
    eventually(lambda: time.monotonic() - began > 6, 10)

    assert asked() - before <= (6 / 1.5 + 1) * workers, json.dumps(client.info("commandstats"), default=str)
