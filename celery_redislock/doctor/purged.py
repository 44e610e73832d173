"""Purged: a rule about publish locks whose messages are gone."""

from __future__ import annotations

from collections.abc import Iterator

from ..publish_lock.record import all_waiting
from .finding import Problem
from .live import Live
from .queues import may_wait_at_the_broker, waits_in_a_worker
from .wording import seconds

#: A publish lock that ends within this time may be of a message that is just being sent, seconds.
BEING_SENT_S = 60.0


def message_is_gone(seen: Live) -> Iterator[Problem]:
    """RL404: a publish lock is kept for a message that is nowhere: each equal call is refused meanwhile."""
    waiting = _waiting(seen)
    ids = {task_id for task_id, _ in waiting.values()}
    if not ids:
        return
    app, tasks = seen.configured.app, [each.name for each in seen.configured.locked]
    # In this order: a message goes from its queue to a worker, and may come back for a retry. One that has
    # begun meanwhile has no publish lock any more.
    ids -= may_wait_at_the_broker(app, ids, tasks)
    ids -= waits_in_a_worker(app, ids) if ids else set()
    ids -= may_wait_at_the_broker(app, ids, tasks) if ids else set()
    for name, (task_id, left_s) in sorted(_waiting(seen).items() if ids else ()):
        if task_id in ids:
            yield Problem(
                f"publish lock {name} is kept for message {task_id}, which is in no queue and no worker: for "
                f"{seconds(left_s)} more no equal call is published",
                f"celery -A APP locks release --force {name}",
            )


def _waiting(seen: Live) -> dict[str, tuple[str, float]]:
    """Return which message each publish lock is for, and for how long it is kept."""
    found = {}
    for name, holder in all_waiting(seen.client, seen.provider.prefix):
        left_s = holder.lease_left or 0.0
        if left_s > BEING_SENT_S:
            found[name] = (holder.metadata["id"], left_s)
    return found
