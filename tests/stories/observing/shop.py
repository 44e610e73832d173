"""The application whose worker Flower watches.

Environment: ``SHOP_STORE`` (broker, results and locks).
"""

from __future__ import annotations

import os
import socket

from celery import Celery

from celery_redislock import locked_task

STORE = os.environ["SHOP_STORE"]
#: Where a run asks whether it may end.
GATE = "gate"

# The picture for the documentation shows no name of a real machine.
socket.gethostname = lambda: "worker1"

app = Celery("shop", broker=STORE, backend=STORE)
app.conf.broker_connection_retry_on_startup = True
app.conf.redislock_events = "all"


def wait_at_the_gate(path: str) -> None:
    """Run until the test lets one run of this file end."""
    with app.connection_for_read() as connection:
        connection.default_channel.client.blpop(f"{GATE}:{path}", timeout=30)


@locked_task(app=app, shared=False, name="shop.import_csv")
def import_csv(path: str) -> None:
    """Skip if it is busy."""
    wait_at_the_gate(path)


@locked_task(app=app, shared=False, name="shop.refresh", lock_on_conflict="coalesce")
def refresh(path: str) -> None:
    """Run once more for all that met it."""
    wait_at_the_gate(path)


@locked_task(app=app, shared=False, name="shop.resync", lock_on_conflict="replace")
def resync(path: str) -> None:
    """Stop for a newer run."""
    wait_at_the_gate(path)
