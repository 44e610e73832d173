"""Lost: a lock that is taken away; the body is told within a third of its lease, and nobody else."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import pytest

from ...support.deadlines import eventually
from ...support.versions import not_with_5_4
from . import figures
from .rows import shows
from .stage import Stage, new_key

TTL = 1.5
#: Seconds that a machine with two busy cores may add.
SLACK = 0.7

POOLS = ["prefork", "solo", "threads", "gevent", "eventlet"]

#: A thread of Celery 5.4 that is done gets its next message up to ten seconds later.
SLOW_THREADS = pytest.param("threads", marks=not_with_5_4("its threads take hundreds of messages too slowly"))


def take_by_force(stage: Stage, key: str) -> float:
    """Take a lock from whoever has it, and return when."""
    assert stage.app.tasks["plain"].lock_for(key).force_release()
    return time.monotonic()


#: What the body does -> in which pools an interruption reaches it there.
BLOCKED = [(pool, "doze") for pool in POOLS] + [
    ("prefork", "sleep"),
    ("prefork", "read"),
    ("solo", "sleep"),
    ("gevent", "sleep"),
    ("gevent", "read"),
    ("eventlet", "sleep"),
    ("eventlet", "read"),
]


@shows("taken by force")
@pytest.mark.parametrize(("pool", "what"), BLOCKED)
def test_a_body_is_told_within_a_third_of_its_lease_that_its_lock_was_taken(
    pool: str, what: str, stage_of: Callable[[str], Stage]
) -> None:
    stage, key = stage_of(pool), new_key()
    result = stage.hold("plain", key, [what, 30], lock={"ttl": TTL})

    taken = take_by_force(stage, key)
    free = stage.free_at("plain", key, SLACK)

    told = stage.ended(key, result)
    assert told["error"] == "LockLost"
    assert stage.state_of(result) == "FAILURE (LockLost)"
    how = f"body in {what}, lease {TTL:g} s"
    figures.note("taken by force", pool, "FAILURE (LockLost)", free - taken, how=how)
    figures.note("taken by force: told", pool, "FAILURE (LockLost)", told["at"] - taken, how=how)
    assert told["at"] - taken < TTL / 3 + SLACK
    stage.runs_equal("plain", key)


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("inside", ["the same lock", "another lock"])
def test_a_loss_that_strikes_an_eager_call_ends_the_body_around_it_too(
    inside: str, pool: str, stage_of: Callable[[str], Stage]
) -> None:
    stage, key = stage_of(pool), new_key()
    inner_key = key if inside == "the same lock" else new_key()
    result = stage.hold(
        "plain", key, ["eager", "plain", inner_key, ["doze", 30]], ["doze", 30], lock={"ttl": TTL}
    )
    stage.journal.wait_for(inner_key, "begun", times=2 if inner_key == key else 1)

    take_by_force(stage, key)

    assert stage.state_of(result, 20) == "FAILURE (LockLost)"
    assert stage.journal.entries(inner_key, "ended")[0]["error"] == "LockLost"
    stage.runs_equal("plain", key)
    stage.runs_equal("plain", inner_key)


@pytest.mark.parametrize("pool", POOLS)
def test_with_continue_the_body_runs_on_and_signal_and_log_say_so(
    pool: str, stage_of: Callable[[str], Stage]
) -> None:
    stage, key = stage_of(pool), new_key()
    name = stage.lock_name("plain", key)
    result = stage.hold("plain", key, ["until lost", 10, 0.1], lock={"ttl": TTL, "on_lost": "continue"})

    take_by_force(stage, key)

    assert result.get(timeout=20) == "lost"
    assert "taken by force" in stage.journal.wait_for(name, "lost")["reason"]
    assert f"lock {name!r} is lost" in stage.worker.log()


def test_the_next_holder_keeps_its_lock_when_the_ousted_one_ends(stage: Stage) -> None:
    key = new_key()
    lock = stage.app.tasks["plain"].lock_for(key)
    result = stage.hold("plain", key, ["sleep", 30], lock={"ttl": TTL})
    take_by_force(stage, key)

    with lock:
        stage.ended(key, result)
        eventually(result.ready)
        assert lock.owned()


@pytest.mark.parametrize("pool", ["prefork", SLOW_THREADS, "gevent"])
def test_a_loss_that_is_noticed_as_the_body_ends_strikes_nobody_else(
    pool: str, stage_of: Callable[[str], Stage]
) -> None:
    """The bodies end within a hair's breadth of the renewal that notices the loss."""
    stage, ttl = stage_of(pool), 0.6
    keys = [new_key() for _ in range(40)]
    robbed, bystanders = [], []
    for key in keys:
        nap = ttl / 3 + random.uniform(-0.02, 0.01)
        robbed.append(stage.send("plain", key, ["steal"], ["sleep", nap], lock={"ttl": ttl}))
        bystanders += [stage.send("ordinary", key, ["doze", 0.01], ["give", 1]) for _ in range(3)]

    assert [result.get(timeout=30) for result in bystanders] == [1] * len(bystanders)
    states = [stage.state_of(result) for result in robbed]
    assert set(states) <= {"SUCCESS", "FAILURE (LockLost)"}
    for key, result, state in zip(keys, robbed, states, strict=True):
        # Struck while it says how it ended, a body says nothing.
        said = stage.journal.entries(key, "ended", id=result.id)
        error = said[0]["error"] if said else "nothing"
        assert (error, state) != ("LockLost", "SUCCESS")
        figures.note("loss noticed as the body ends", pool, state, None)


@pytest.mark.parametrize("pool", ["prefork", SLOW_THREADS, "gevent"])
def test_a_retry_with_a_lost_lock_either_is_published_or_fails_but_not_both(
    pool: str, stage_of: Callable[[str], Stage]
) -> None:
    stage = stage_of(pool)
    keys = [new_key() for _ in range(20)]
    results = [stage.send("plain", key, ["steal and retry"], ["give", 1]) for key in keys]

    for key, result in zip(keys, results, strict=True):
        first = stage.ended(key, result, error="Retry")
        assert first["error"] == "Retry"
        assert result.get(timeout=20) == 1
        assert len(stage.journal.entries(key, "begun")) == 2
