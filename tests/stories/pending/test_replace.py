"""Replace: the newcomer has the running one stop, and runs once it has."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from ...support.deadlines import eventually
from ...support.versions import not_with_5_4
from ..ends.stage import Stage, new_key
from .conftest import worker
from .pending_checks import is_met, nothing_is_left

#: Seconds within which a body is told, and what a busy machine may add.
TOLD, SLACK = 1.0, 3.0


@pytest.mark.parametrize("pool", ["prefork", "threads", "gevent"])
def test_the_running_one_is_told_to_stop_and_the_newcomer_runs_after_it(
    pool: str, stage_of: Callable[..., Stage]
) -> None:
    stage, key = stage_of(pool), new_key()
    holder = stage.hold("replace", key, ["doze", 60], lock={"ttl": 30})
    sent = time.monotonic()

    newcomer = stage.send("replace", key, ["give", 7])

    assert newcomer.get(timeout=20) == 7
    ended = stage.ended(key, holder)
    assert ended["error"] == "LockLost"
    assert ended["at"] - sent < TOLD + SLACK
    assert stage.state_of(holder) == "REVOKED"
    assert f"superseded by task {newcomer.id}" in str(holder.result)
    assert stage.journal.overlaps(key) == 0
    nothing_is_left(stage, key, "replace")


def test_in_a_solo_pool_the_newcomer_waits_in_the_queue(stage_of: Callable[..., Stage]) -> None:
    """One worker that runs one task at a time meets the lock of another worker."""
    stage, solo, key = stage_of("prefork"), stage_of("solo"), new_key()
    holder = solo.hold("replace", key, ["sleep", 60], lock={"ttl": 30})

    newcomer = stage.send("replace", key, ["give", 7])

    assert newcomer.get(timeout=20) == 7
    assert solo.state_of(holder) == "REVOKED"
    assert f"superseded by task {newcomer.id}" in str(holder.result)


def test_of_several_newcomers_the_last_runs(stage: Stage) -> None:
    key = new_key()
    holder = stage.hold("replace", key, ["gate", key], lock={"on_lost": "continue"})
    newcomers = []
    for number in range(4):
        newcomers.append(stage.send("replace", key, ["give", number]))
        eventually(lambda: is_met(stage, key, newcomers[-1], "replace"))
    stage.journal.open(key)

    assert newcomers[-1].get(timeout=20) == 3
    assert holder.get(timeout=20) is None, "a body that ends as it would have keeps its result"
    for older in newcomers[:-1]:
        assert stage.state_of(older) == "REVOKED"
        assert f"superseded by task {newcomers[-1].id}" in str(older.result)
    assert [run["id"] for run in stage.journal.entries(key, "begun")] == [holder.id, newcomers[-1].id]


@pytest.mark.parametrize(
    "pool",
    ["prefork", pytest.param("gevent", marks=not_with_5_4("its pool of gevent cannot terminate a task"))],
)
def test_one_that_goes_on_is_terminated_where_the_pool_can(pool: str, stage_of: Callable[..., Stage]) -> None:
    stage, key = stage_of(pool), new_key()
    lock = {"on_lost": "continue", "ttl": 30}
    holder = stage.hold("replace", key, ["beat", 60], lock=lock)
    sent = time.monotonic()

    newcomer = stage.send("replace", key, ["give", 7], lock={"replace_after": 1})

    assert newcomer.get(timeout=30) == 7
    begun = stage.begun(key, newcomer)
    assert begun["at"] - sent > 1
    assert stage.journal.overlaps(key) == 0, "the newcomer ran beside the body that went on"
    assert stage.state_of(holder) == "REVOKED"
    assert f"superseded by task {newcomer.id}" in str(holder.result)


def test_one_that_cannot_be_terminated_is_not_stored_as_revoked_while_it_goes_on(
    stage_of: Callable[..., Stage],
) -> None:
    """Celery's own revoke has each worker store it that does not run the task itself."""
    stage_of("prefork")  # one that hears of it, and does not run it
    stage, key = stage_of("threads"), new_key()
    holder = stage.hold("replace", key, ["sleep", 8], ["give", 1], lock={"on_lost": "continue", "ttl": 30})

    newcomer = stage.send("replace", key, ["give", 7], lock={"replace_after": 0.5})

    state = holder.state
    while not stage.journal.entries(key, "ended", id=holder.id):
        assert state == "PENDING"
        time.sleep(0.1)
        state = holder.state
    assert newcomer.get(timeout=30) == 7
    assert holder.get(timeout=5) == 1
    assert stage.journal.overlaps(key) == 0


def test_one_that_goes_on_is_terminated_though_the_newcomers_worker_is_gone(stage: Stage, store: str) -> None:
    key = new_key()
    holder = stage.hold("replace", key, ["beat", 60], lock={"on_lost": "continue", "ttl": 30})
    with worker(store, "doomed") as doomed:
        newcomer = stage.send("replace", key, ["give", 7], queue="doomed", lock={"replace_after": 2})
        eventually(lambda: is_met(stage, key, newcomer, "replace"))
        doomed.kill()

    eventually(lambda: stage.state_of(holder) == "REVOKED", 20)
    with worker(store, "doomed"):
        assert newcomer.get(timeout=20) == 7


def test_a_replaced_run_does_not_retry_and_replace_its_successor(stage: Stage) -> None:
    key = new_key()
    holder = stage.hold("auto", key, ["doze", 60])

    newcomer = stage.send("auto", key, ["doze", 1], ["give", 7])

    assert newcomer.get(timeout=20) == 7
    assert stage.state_of(holder) == "REVOKED"
    assert [run["id"] for run in stage.journal.entries(key, "begun")] == [holder.id, newcomer.id]
