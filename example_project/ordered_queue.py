"""Use 4: queue operations in order: the orders of one customer are applied one at a time.

Every order goes into the customer's list, then a run is asked to work it off. A run looks at
the first order, applies it and only then removes it, so a crash loses none. Two such runs at
once would apply the same order twice and remove another unseen. Customers do not wait for
each other.
"""

from __future__ import annotations

from celery_redislock import locked_task

from . import pace, store


def place_order(customer: str, order: str) -> None:
    """Put the order at the end of the customer's queue and ask for the queue to be worked off."""
    with store.connect() as client:
        client.rpush(queue_key(customer), order)
    apply_orders.delay(customer)


@locked_task(lock_key="orders:{customer}", lock_on_conflict="retry", lock_retry_delay=(0.1, 2))
def apply_orders(customer: str) -> int:
    """Apply all waiting orders of the customer, first in, first out; return how many."""
    applied = 0
    with store.connect() as client:
        while (order := client.lindex(queue_key(customer), 0)) is not None:
            pace.slow_part(0.1)
            client.rpush(ledger_key(customer), str(order))
            client.lpop(queue_key(customer))
            applied += 1
    return applied


def queue_key(customer: str) -> str:
    """The list of orders that wait."""
    return store.key(f"orders:{customer}:waiting")


def ledger_key(customer: str) -> str:
    """The list of orders that were applied, in the order in which that happened."""
    return store.key(f"orders:{customer}:applied")
