"""The judge of chaos sees what is wrong in a journal, and nothing where all is well."""

from __future__ import annotations

from typing import Any

import pytest

from .journal import Entry
from .judge import Verdict, judge
from .network import LOSS

TTL_S = 2.5


def started(run: str, at: float, until: float, **facts: Any) -> Entry:
    defaults = {"task": f"task-{run}", "key": "a", "token": f"token-{run}", "fencing_token": int(at * 1000)}
    body = {"what": "started", "run": run, "at": at, "until": until, "pid": hash(run), "group": hash(run)}
    return {**body, **defaults, **facts}


def ended(run: str, at: float, outcome: str = "done") -> Entry:
    return {"what": "ended", "run": run, "at": at, "outcome": outcome}


def believed(run: str, at: float, until: float) -> Entry:
    return {"what": "believed", "run": run, "at": at, "until": until}


def killed(at: float, **whom: Any) -> Entry:
    return {"what": "killed", "fault": "child killed", "at": at, **whom}


def wrote(at: float, number: int, *, accepted: bool = True) -> Entry:
    return {"what": "wrote", "at": at, "run": "x", "key": "a", "fencing_token": number, "accepted": accepted}


def seen(token: str, at: float, last: float, *, endless: bool = False) -> Entry:
    return {"what": "seen", "key": "a", "token": token, "at": at, "last": last, "endless": endless}


def task(name: str, state: str, *acknowledged: bool) -> list[Entry]:
    """Return what is known of a task with one publication for each of `acknowledged`."""
    entries: list[Entry] = [{"what": "state", "at": 99.0, "task": name, "state": state, "why": ""}]
    for number, is_acknowledged in enumerate(acknowledged):
        publication = f"{name}-{number}"
        entries.append({"what": "published", "at": 0.0, "task": name, "publication": publication})
        if is_acknowledged:
            entries.append({"what": "acknowledged", "at": 1.0, "publication": publication})
    return entries


def verdict_on(*entries: Entry) -> Verdict:
    return judge(entries, TTL_S)


def test_bodies_one_after_the_other_are_in_order() -> None:
    verdict = verdict_on(started("x", 1, 3.4), ended("x", 2), started("y", 2.01, 4.4), ended("y", 3))

    assert verdict.offences == []
    assert (verdict.runs, verdict.outcomes) == (2, {"done": 2})


def test_two_that_believe_at_once_are_an_offence() -> None:
    verdict = verdict_on(started("x", 1, 3.4), ended("x", 2), started("y", 1.99, 4.4), ended("y", 3))

    assert len(verdict.overlaps_of_believers) == 1
    assert "(1.99, 2)" in verdict.overlaps_of_believers[0]


def test_locks_of_different_names_have_nothing_to_do_with_each_other() -> None:
    verdict = verdict_on(started("x", 1, 3.4), ended("x", 2), started("y", 1.5, 4, key="b"), ended("y", 3))

    assert verdict.offences == []


def test_a_stopped_body_believes_no_longer_than_its_lease() -> None:
    """It ends long after the next one began, but its lease had run out by then."""
    verdict = verdict_on(started("x", 1, 3.4), ended("x", 9), started("y", 3.5, 6), ended("y", 5))

    assert verdict.offences == []
    assert verdict.overlaps_with_a_loser == 1


def test_a_renewed_lease_is_believed_for_longer() -> None:
    x = [started("x", 1, 3.4), believed("x", 2, 4.4), ended("x", 9)]

    verdict = verdict_on(*x, started("y", 4.3, 6), ended("y", 5))

    assert len(verdict.overlaps_of_believers) == 1


def test_a_body_that_knows_of_its_loss_believes_no_more() -> None:
    x = [started("x", 1, 3.4), believed("x", 2, 2), ended("x", 3, "LockLost")]

    verdict = verdict_on(*x, started("y", 2.1, 4.4), ended("y", 3))

    assert (len(verdict.overlaps_of_believers), verdict.overlaps_with_a_loser) == (0, 1)


@pytest.mark.parametrize("whom", [{"pids": [hash("x")]}, {"group": hash("x")}])
def test_a_killed_body_has_ended(whom: dict[str, Any]) -> None:
    verdict = verdict_on(started("x", 1, 3.4), killed(2, **whom), started("y", 2.01, 4.4), ended("y", 3))

    assert verdict.offences == []
    assert verdict.outcomes == {"killed": 1, "done": 1}
    assert verdict.overlaps_with_a_loser == 0


def test_a_body_that_begins_while_its_process_is_being_killed_has_ended_too() -> None:
    verdict = verdict_on(killed(0.999, group=hash("x")), started("x", 1, 3.4))

    assert verdict.outcomes == {"killed": 1}


def test_a_body_of_which_nobody_knows_the_end_believes_until_its_lease_ends() -> None:
    verdict = verdict_on(started("x", 1, 3.4), started("y", 3.3, 5), ended("y", 4), started("z", 8, 9))

    assert len(verdict.overlaps_of_believers) == 1
    assert verdict.overlaps_with_a_loser == 0


def test_after_a_loss_of_data_two_may_believe_for_the_length_of_a_lease() -> None:
    bodies = [started("x", 1, 3.4), ended("x", 3.3), started("y", 2.1, 4.4), ended("y", 3)]
    loss = {"what": "disturbed", "fault": LOSS, "began": 2.0, "at": 2.05, "lasts": 0}

    assert verdict_on(*bodies, loss).overlaps_after_data_loss == 1
    assert verdict_on(*bodies, loss).offences == []
    assert len(verdict_on(*bodies, {**loss, "began": 2.2}).overlaps_of_believers) == 1
    assert len(verdict_on(*bodies, {**loss, "at": 0.4}).overlaps_of_believers) == 1


def test_a_write_after_a_later_holders_is_an_offence_only_if_it_was_accepted() -> None:
    refused = verdict_on(wrote(1, 5), wrote(2, 6), wrote(3, 5, accepted=False), wrote(4, 6))
    accepted = verdict_on(wrote(1, 5), wrote(2, 6), wrote(3, 5), wrote(4, 6))

    assert (refused.refused_writes, refused.offences) == (1, [])
    assert len(accepted.corrupted_writes) == 1


def test_two_grants_with_one_fencing_token_are_an_offence() -> None:
    x, y = started("x", 1, 2, fencing_token=7), started("y", 5, 6, fencing_token=7)

    assert len(verdict_on(x, ended("x", 2), y, ended("y", 6)).fencing_tokens_twice) == 1


def test_a_lock_that_outlives_its_lease_is_stuck() -> None:
    """Its body ended at 2: the lease may last until 4.5, and some slack."""
    body = [started("x", 1, 3.4), ended("x", 2)]

    assert verdict_on(*body, seen("token-x", 1, 6.4)).offences == []
    assert len(verdict_on(*body, seen("token-x", 1, 6.6)).stuck_locks) == 1


def test_a_lock_is_not_stuck_while_its_body_runs() -> None:
    assert verdict_on(started("x", 1, 3.4), ended("x", 60), seen("token-x", 1, 61)).offences == []


def test_a_lock_that_nobody_came_to_hold_must_end_with_its_lease() -> None:
    assert verdict_on(seen("unseen", 1, 3.5)).offences == []
    assert len(verdict_on(seen("unseen", 1, 6)).stuck_locks) == 1


def test_a_lock_without_an_end_is_stuck_at_once() -> None:
    assert len(verdict_on(seen("unseen", 1, 1, endless=True)).stuck_locks) == 1


def test_a_task_that_succeeded_after_its_body_was_done_is_not_lost() -> None:
    body = [started("x", 1, 3.4, task="t"), ended("x", 2)]

    verdict = verdict_on(*body, *task("t", "SUCCESS", True, True))

    assert (verdict.tasks, verdict.offences) == (1, [])


@pytest.mark.parametrize("state", ["PENDING", "RETRY", "STARTED", "FAILURE", "REVOKED", "SUCCESS"])
def test_a_task_is_lost_when_all_its_messages_are_settled_and_no_body_was_done(state: str) -> None:
    body = [started("x", 1, 3.4, task="t"), ended("x", 2, "LockLost")]

    assert len(verdict_on(*body, *task("t", state, True)).lost_tasks) == 1


def test_a_message_that_was_never_acknowledged_and_is_gone_was_lost_by_the_broker() -> None:
    verdict = verdict_on(*task("t", "RETRY", True, False))

    assert (verdict.lost_by_the_broker, verdict.offences) == (1, [])


def test_a_task_whose_message_still_waits_at_the_broker_at_the_end_is_lost() -> None:
    waiting = {"what": "queued", "at": 98.0, "publication": "t-0"}

    assert len(verdict_on(*task("t", "PENDING", False), waiting).lost_tasks) == 1
