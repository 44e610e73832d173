"""The orders of a customer are applied once each, in the order in which they were placed."""

from __future__ import annotations

import redis
from celery import Celery

from example_project.ordered_queue import apply_orders, ledger_key, place_order, queue_key

from ..support.deadlines import eventually
from .conftest import PacedWorker

ORDERS = [b"1", b"2", b"3", b"4"]


def applied_by_two_runs(client: redis.Redis) -> list[bytes | str]:
    """Work the same queue off by two runs at once; return the orders as they were applied."""
    client.rpush(queue_key("ann"), *ORDERS)
    for run in [apply_orders.delay("ann") for _ in range(2)]:
        run.get(timeout=30)
    return client.lrange(ledger_key("ann"), 0, -1)


def test_with_the_lock_every_order_is_applied_once_and_in_order(
    project: Celery, paced_worker: PacedWorker, client: redis.Redis
) -> None:
    """The second run comes in when the first has found the queue empty."""
    with paced_worker(mode="on"):
        assert applied_by_two_runs(client) == ORDERS


def test_without_the_lock_an_order_is_applied_twice(
    project: Celery, paced_worker: PacedWorker, client: redis.Redis
) -> None:
    """The control: both runs looked at the same first order before either removed it."""
    with paced_worker(mode="off"):
        assert applied_by_two_runs(client).count(ORDERS[0]) == 2


def test_an_order_placed_while_others_are_applied_is_not_forgotten(
    project: Celery, paced_worker: PacedWorker, client: redis.Redis
) -> None:
    """Each order asks for a run of its own, and none of these is dropped."""
    with paced_worker(mode="on"):
        for order in ORDERS:
            place_order("ann", order.decode())
        eventually(lambda: client.llen(queue_key("ann")) == 0, 30, "all orders should be applied")

    assert client.lrange(ledger_key("ann"), 0, -1) == ORDERS
