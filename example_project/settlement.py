"""Use 9: both accounts of a settlement; a run has both locks or none.

The two balances are read, a slow check is made outside of any transaction, then both accounts get the half
of what they have together. Nobody may change either of them meanwhile, so the run locks both. The locks are
taken in the order of their names: of `settle("ann", "bob")` and `settle("bob", "ann")` neither holds what
the other waits for.

Each account has a lock of its own, and so a fencing token of its own, which the database checks.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, select, update

from celery_redislock import locked_task

from . import database, pace
from .database import accounts
from .money_transfer import CLAIM, Superseded


@locked_task(
    bind=True,
    lock_key=["account:{one}", "account:{other}"],
    lock_on_conflict="retry",
    lock_retry_delay=(0.1, 2),
    throws=(Superseded,),
)
def settle(self: Any, one: str, other: str) -> int:
    """Give both accounts the half of what they have together, and return what the first has then.

    Raises:
        Superseded: A lock was lost and another run went on; nothing was moved.
    """
    numbers = self.lock.fencing_tokens
    # Without a lock (``lock_mode="off"``) there is none, and nothing to check.
    tokens = {account: numbers.get(lock_of(account)) for account in (one, other)}
    balances = claim(tokens)
    pace.slow_part(0.2)
    total = sum(balances.values())
    halves = {one: total - total // 2, other: total // 2}
    write(halves, tokens)
    return halves[one]


def lock_of(account: str) -> str:
    """Return the Redis key of the lock of one account."""
    (name,) = settle.lock_names(account, account)
    return name


def claim(tokens: dict[str, int | None]) -> dict[str, int]:
    """Put our fencing tokens into the accounts and return their balances."""
    with database.connect().begin() as connection:
        for account, token in sorted(tokens.items()):
            if token is not None:
                _exactly_one(connection, CLAIM, {"account": account, "token": token})
        found = connection.execute(select(accounts.c.id, accounts.c.balance).where(accounts.c.id.in_(tokens)))
        return {str(account): int(balance) for account, balance in found}


def write(balances: dict[str, int], tokens: dict[str, int | None]) -> None:
    """Write both balances in one transaction, if no later token has come to either account."""
    with database.connect().begin() as connection:
        for account, balance in sorted(balances.items()):
            change = update(accounts).where(accounts.c.id == account).values(balance=balance)
            if tokens[account] is not None:
                change = change.where(accounts.c.last_fencing_token == tokens[account])
            _exactly_one(connection, change, {})


def _exactly_one(connection: Connection, statement: Any, values: dict[str, Any]) -> None:
    if connection.execute(statement, values).rowcount != 1:
        raise Superseded("a later run has worked on this account")
