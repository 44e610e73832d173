"""Money is neither made nor lost, and the database turns away who no longer holds the lock."""

from __future__ import annotations

import pytest
from celery import Celery
from celery.result import AsyncResult
from sqlalchemy import insert, select

from celery_redislock import LockLost
from example_project import database
from example_project.database import accounts
from example_project.money_transfer import NotEnoughMoney, Superseded, claim, transfer, write

from ..support.deadlines import eventually
from .conftest import PacedWorker
from .meeting import Meeting


@pytest.fixture
def bank(database_url: str) -> None:
    """Give Ann 100, and Bob nothing."""
    rows = [{"id": "ann", "balance": 100}, {"id": "bob", "balance": 0}]
    with database.connect().begin() as connection:
        connection.execute(insert(accounts), rows)


def balances() -> dict[str, int]:
    """Return what is on the accounts."""
    with database.connect().connect() as connection:
        rows = connection.execute(select(accounts.c.id, accounts.c.balance))
        return {str(account): int(balance) for account, balance in rows}


def transfer_twice() -> list[AsyncResult[int]]:
    """Move 60 of Ann's 100 to Bob, twice at the same time, and wait for both ends."""
    results = [transfer.delay("ann", "bob", 60) for _ in range(2)]
    for result in results:
        result.get(timeout=30, propagate=False)
    return results


@pytest.mark.usefixtures("project", "bank")
def test_with_the_lock_the_second_transfer_sees_what_the_first_left(
    paced_worker: PacedWorker,
) -> None:
    """60 of 100 can be moved once."""
    with paced_worker(mode="on"):
        states = sorted(result.state for result in transfer_twice())

    assert states == ["FAILURE", "SUCCESS"]
    assert balances() == {"ann": 40, "bob": 60}


@pytest.mark.usefixtures("project", "bank")
def test_without_the_lock_more_is_moved_than_there_is(paced_worker: PacedWorker) -> None:
    """The control: both runs read 100, and both moved 60 of it."""
    with paced_worker(mode="off"):
        states = [result.state for result in transfer_twice()]

    assert states == ["SUCCESS", "SUCCESS"]
    assert balances() == {"ann": -20, "bob": 120}


@pytest.mark.usefixtures("bank")
def test_the_database_refuses_the_write_of_a_former_holder() -> None:
    """A paused run cannot know that its lease ended; the token in the account does."""
    claim("ann", token=7)
    claim("ann", token=8)
    write("ann", "bob", 60, token=8)

    with pytest.raises(Superseded):
        write("ann", "bob", 60, token=7)

    assert balances() == {"ann": 40, "bob": 60}


@pytest.mark.usefixtures("bank")
def test_money_that_comes_during_the_check_is_kept() -> None:
    """A credit takes no lock: the debit must not write a balance that was read before it."""
    claim("ann", token=7)
    claim("bob", token=8)
    write("ann", "bob", 60, token=7)
    write("bob", "ann", 10, token=8)

    assert balances() == {"ann": 50, "bob": 50}


@pytest.mark.usefixtures("bank")
def test_the_database_refuses_the_former_holder_also_before_the_later_has_written() -> None:
    """Otherwise the later run would move money that the former has just moved."""
    claim("ann", token=7)
    claim("ann", token=8)

    with pytest.raises(Superseded):
        write("ann", "bob", 60, token=7)

    assert balances() == {"ann": 100, "bob": 0}


@pytest.mark.usefixtures("bank")
def test_the_database_refuses_to_be_claimed_by_a_former_holder() -> None:
    """A run that was paused before its very first statement is late as well."""
    claim("ann", token=8)

    with pytest.raises(Superseded):
        claim("ann", token=7)


@pytest.mark.usefixtures("bank")
def test_a_run_whose_lock_was_taken_away_moves_no_money(
    project: Celery, paced_worker: PacedWorker, redis_url: str
) -> None:
    """Two runs are inside at once, each sure to hold the lock; only the later one can write."""
    meeting = Meeting(redis_url, parties=2)

    with paced_worker(mode="on"):
        former = transfer.delay("ann", "bob", 60)
        eventually(lambda: meeting.inside() == 1, 20, "the first run should hold the lock")
        assert transfer.lock_for("ann", "bob", 60).force_release()
        later = transfer.delay("ann", "bob", 50)
        assert later.get(timeout=30) == 50
        with pytest.raises((Superseded, LockLost)):  # LockLost: it was told before it wrote
            former.get(timeout=30)

    assert balances() == {"ann": 50, "bob": 50}


@pytest.mark.usefixtures("project", "bank")
def test_a_transfer_of_more_than_there_is_moves_nothing(paced_worker: PacedWorker) -> None:
    """The refusal is an ordinary failure, and frees the lock."""
    with paced_worker(mode="on", parties=1):
        with pytest.raises(NotEnoughMoney):
            transfer.delay("ann", "bob", 101).get(timeout=30)
        assert transfer.delay("ann", "bob", 100).get(timeout=30) == 0
