"""Coalesce: of all triggers that meet a busy lock one more run, published when it is free."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil

import pytest
from celery import chord
from celery.exceptions import ChordError, TaskRevokedError
from celery.exceptions import TimeoutError as NoResult

from ...support.deadlines import eventually
from ..ends.stage import Stage, new_key
from . import pending_checks as checks
from .app import build
from .conftest import worker


@pytest.mark.parametrize("task", ["latest", "first"])
@pytest.mark.parametrize("pool", ["prefork", "threads", "gevent"])
def test_of_all_triggers_that_meet_the_lock_one_runs_once_it_is_free(
    pool: str, task: str, stage_of: Callable[..., Stage]
) -> None:
    checks.one_more_run_for_all(stage_of(pool), task)


#: Where a releaser dies that a test has killed.
PLACES = ("release", "claim", "publication")


def kill(stage: Stage, number: int) -> Callable[[float], None]:
    """Have one releaser of the burst die half-way, at another place for each number."""
    armed: list[str] = []

    def at(progress: float) -> None:
        if progress >= 0.5 and not armed:
            armed.append(PLACES[number % len(PLACES)])
            stage.journal.client.rpush(f"die:{armed[0]}", 1)

    return at


@pytest.mark.timeout(400)
def test_500_triggers_in_10_seconds_are_at_most_11_runs_and_the_last_sees_the_last(stage: Stage) -> None:
    begun, behind_s = checks.the_last_trigger_is_seen(stage, 500, 10.0)

    print(f"{len(begun)} runs, {behind_s:.1f} s behind at the end")
    assert len(begun) <= 11 + ceil(behind_s)


@pytest.mark.timeout(400)
@pytest.mark.parametrize("number", range(3))
def test_a_releaser_that_is_killed_loses_nothing(number: int, stage: Stage) -> None:
    checks.the_last_trigger_is_seen(stage, 150, 3.0, kill(stage, number))

    # Where a machine is behind with the triggers, one of them may take the lock whenever it is free: nothing
    # is published then, and nobody dies.
    bursts = 1
    while stage.journal.client.exists(f"die:{PLACES[number]}"):
        assert bursts < 5, "nobody was killed"
        checks.the_last_trigger_is_seen(stage, 150, 3.0)
        bursts += 1


def test_a_chain_goes_on_behind_the_run_that_was_wanted_and_ends_behind_the_others(stage: Stage) -> None:
    key = new_key()
    stage.hold("latest", key, ["gate", key])
    chains = [
        (stage.sig("latest", key, ["give", number]) | stage.sig("skip", new_key(), ["give", "then"])).delay()
        for number in range(2)
    ]
    for chain in chains:
        eventually(lambda chain=chain: checks.is_met(stage, key, chain.parent))
    stage.journal.open(key)

    ends = [chain.get(timeout=20, propagate=False) for chain in chains]

    assert "then" in ends
    assert sorted(chain.state for chain in chains) == ["REVOKED", "SUCCESS"]


def test_a_chord_whose_member_is_superseded_fails_instead_of_hanging(stage: Stage) -> None:
    key = new_key()
    stage.hold("latest", key, ["gate", key])
    body = stage.sig("skip", new_key(), ["give", "sum"])
    result = chord([stage.sig("latest", key, ["give", number]) for number in range(3)])(body)
    for member in result.parent:
        eventually(lambda member=member: checks.is_met(stage, key, member))
    stage.journal.open(key)

    with pytest.raises((ChordError, TaskRevokedError)):
        result.get(timeout=20)


def test_arguments_options_and_headers_of_a_wanted_call_stay_as_they_were(stage: Stage) -> None:
    key = new_key()
    stage.hold("latest", key, ["gate", key])
    options = {"headers": {"x-trace": "42"}, "priority": 3, "soft_time_limit": 77}
    trigger = stage.send("latest", key, ["request"], **options)
    eventually(lambda: checks.is_met(stage, key, trigger))
    stage.journal.open(key)

    seen = trigger.get(timeout=20)

    assert seen["trace"] == "42"
    assert seen["timelimit"] == [None, 77]
    assert seen["retries"] == 0
    assert seen["root_id"] == trigger.id
    assert seen["parent_id"] is None, "whoever released the lock became its parent"


def test_a_release_that_drops_the_wanted_run_is_seen(store: str) -> None:
    # For this test alone: beside others it would drop what they want.
    with worker(store, "wrong", wrong="drops what is wanted") as running:
        stage = Stage(build(store), store, "wrong", running)
        with pytest.raises(NoResult):
            checks.one_more_run_for_all(stage)
        stage.close()


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_500_triggers_with_a_killed_releaser_20_times(stage: Stage) -> None:
    for number in range(20):
        begun, behind_s = checks.the_last_trigger_is_seen(stage, 500, 10.0, kill(stage, number))
        print(f"{PLACES[number % 3]}: {len(begun)} runs, {behind_s:.1f} s behind at the end")
        # A run that is killed with its releaser has come to its end before.
        assert len(begun) <= 11 + ceil(behind_s)
