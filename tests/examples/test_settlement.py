"""A settlement changes two accounts: with both locks money is neither made nor lost."""

from __future__ import annotations

import pytest
from celery import Celery
from celery.result import AsyncResult
from sqlalchemy import insert

from celery_redislock import RedisLocks
from example_project import database
from example_project.database import accounts
from example_project.money_transfer import Superseded
from example_project.settlement import claim, lock_of, settle, write

from ..support.deadlines import eventually
from .conftest import PacedWorker
from .meeting import Meeting
from .test_money_transfer import balances


@pytest.fixture
def bank(database_url: str) -> None:
    """Give Ann 100, Bob nothing, and Zoe 40."""
    rows = [{"id": name, "balance": balance} for name, balance in (("ann", 100), ("bob", 0), ("zoe", 40))]
    with database.connect().begin() as connection:
        connection.execute(insert(accounts), rows)


def settle_both(*pairs: tuple[str, str]) -> list[AsyncResult[int]]:
    """Settle pairs of accounts at the same time, and wait for all ends."""
    results = [settle.delay(*pair) for pair in pairs]
    for result in results:
        result.get(timeout=30, propagate=False)
    return results


@pytest.mark.usefixtures("project", "bank")
def test_two_that_share_an_account_come_one_after_the_other(paced_worker: PacedWorker) -> None:
    """The shared account is the second of both: a lock of the first alone would let both in."""
    with paced_worker(mode="on"):
        results = settle_both(("ann", "bob"), ("zoe", "bob"))

    assert [result.state for result in results] == ["SUCCESS", "SUCCESS"]
    assert sum(balances().values()) == 140
    assert balances() in ({"ann": 50, "bob": 45, "zoe": 45}, {"ann": 60, "bob": 60, "zoe": 20})


@pytest.mark.usefixtures("project", "bank")
def test_without_the_locks_money_is_made_or_lost(paced_worker: PacedWorker) -> None:
    """The control: both runs read Bob's balance before one has written it."""
    with paced_worker(mode="off"):
        settle_both(("ann", "bob"), ("zoe", "bob"))

    assert sum(balances().values()) != 140


@pytest.mark.usefixtures("project", "bank")
def test_a_settlement_and_its_reverse_both_end(paced_worker: PacedWorker) -> None:
    """Each names first what the other names last: neither waits for what the other holds."""
    with paced_worker(mode="on"):
        results = settle_both(("ann", "bob"), ("bob", "ann"))

    assert [result.state for result in results] == ["SUCCESS", "SUCCESS"]
    assert balances() == {"ann": 50, "bob": 50, "zoe": 40}


@pytest.mark.usefixtures("project", "bank")
def test_a_run_that_has_lost_one_of_its_locks_writes_nothing(
    project: Celery, paced_worker: PacedWorker, redis_url: str
) -> None:
    """Two runs are inside at once; the later one has put its tokens into both accounts."""
    meeting = Meeting(redis_url, parties=2)

    with paced_worker(mode="on"):
        former = settle.delay("ann", "bob")
        eventually(lambda: meeting.inside() == 1, 20, "the first run should hold both locks")
        locks = settle.lock_for("ann", "bob")
        assert isinstance(locks, RedisLocks)
        assert [lock.force_release() for lock in locks.locks] == [True, True]
        later = settle.delay("ann", "bob")
        assert later.get(timeout=30) == 50
        with pytest.raises(Exception, match=r"later run|was lost"):
            former.get(timeout=30)

    assert balances() == {"ann": 50, "bob": 50, "zoe": 40}


@pytest.mark.usefixtures("bank")
def test_the_database_refuses_a_former_holder_of_either_account() -> None:
    claim({"ann": 7, "bob": 7})
    claim({"bob": 8})

    with pytest.raises(Superseded):
        write({"ann": 50, "bob": 50}, {"ann": 7, "bob": 7})

    assert balances()["ann"] == 100


@pytest.mark.usefixtures("project")
def test_each_account_has_one_lock_for_all_tasks() -> None:
    assert settle.lock_names("bob", "ann") == (lock_of("ann"), lock_of("bob"))
    assert lock_of("ann") == "redislock:account:ann"
