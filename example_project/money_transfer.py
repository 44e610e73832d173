"""Use 2: a database transaction; the fencing token is checked where the work is written.

The balance is read, a slow check is made outside of any transaction, then the money is moved.
The lock keeps two transfers from one account apart. It cannot stop a run that was paused for so
long that its lease ended: only the database can. So a run first puts its fencing token, which
grows with each grant, into the account, and moves money only while that token is still there.

Credits take no lock. One that comes during the check makes the balance larger, and is kept: the
debit subtracts from what is there.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, bindparam, select, update

from celery_redislock import locked_task

from . import database, pace
from .database import accounts

CLAIM = (
    update(accounts)
    .where(accounts.c.id == bindparam("account"))
    .where(accounts.c.last_fencing_token < bindparam("token"))
    .values(last_fencing_token=bindparam("token"))
)


class Superseded(Exception):
    """A later holder of the account's lock has worked on the account: this run must not."""


class NotEnoughMoney(Exception):
    """The account does not hold the amount."""


@locked_task(
    bind=True,
    lock_key="account:{source}",
    lock_on_conflict="retry",
    lock_retry_delay=(0.1, 2),
    throws=(NotEnoughMoney, Superseded),
)
def transfer(self: Any, source: str, target: str, amount: int) -> int:
    """Move `amount` from one account to the other and return what is left on the first.

    Raises:
        NotEnoughMoney: Nothing was moved.
        Superseded: The lock was lost and another run went on; nothing was moved.
    """
    token = self.lock.fencing_token
    balance = claim(source, token)
    if balance < amount:
        raise NotEnoughMoney(f"{source} has {balance}, not {amount}")
    pace.slow_part(0.2)
    write(source, target, amount, token)
    return balance - amount


def claim(account: str, token: int | None) -> int:
    """Put our fencing token into the account and return its balance."""
    with database.connect().begin() as connection:
        if token is not None:
            _exactly_one(connection, CLAIM, {"account": account, "token": token})
        balance = connection.scalar(select(accounts.c.balance).where(accounts.c.id == account))
    if balance is None:
        raise LookupError(f"no account {account}")
    return int(balance)


def write(source: str, target: str, amount: int, token: int | None) -> None:
    """Move the money in one transaction, if no later token has come to the account.

    Without a lock (``lock_mode="off"``) there is no token and nothing to check.
    """
    debit = update(accounts).where(accounts.c.id == source).values(balance=accounts.c.balance - amount)
    if token is not None:
        debit = debit.where(accounts.c.last_fencing_token == token)
    credit = update(accounts).where(accounts.c.id == target).values(balance=accounts.c.balance + amount)
    with database.connect().begin() as connection:
        _exactly_one(connection, debit, {})
        connection.execute(credit)


def _exactly_one(connection: Connection, statement: Any, values: dict[str, Any]) -> None:
    if connection.execute(statement, values).rowcount != 1:
        raise Superseded("a later transfer has worked on this account")
