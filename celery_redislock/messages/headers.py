"""Headers: every header that we write into a message, with its form, its writers and its readers.

=====================  ===================================  ===========================  =====================
header                 holds                                written by                   read by
=====================  ===================================  ===========================  =====================
`CALL_HEADER`          the lock options of this call        publisher                    worker and its parent
`NAME_HEADER`          the Redis key of the call's lock     publisher                    worker and its parent
`NAMED_HEADER`         the task and id that the key is for  publisher                    worker and its parent
`TICKET_HEADER`        the publish lock of this message     publisher                    worker and its parent
`PENDING_HEADER`       the pending run that this message    who publishes the run; the   worker and its parent
                       starts                               run, for its own retries
`RETRY_HEADER`         retries after a conflict             worker                       worker
`OUTAGE_HEADER`        retries while Redis was away         worker                       worker
`COPY_HEADER`          delays of a redelivered message      worker                       worker
`PUT_OFF_HEADER`       delays until the lock of an earlier  worker                       worker
                       run of the task has ended
`BATCH_HEADER`         the batch that a message belongs to  publisher; worker's parent   worker and its parent
`BEAT_HEADER`          the entry and due time of a tick     beat                         the body of a task
`TOKEN_HEADER`         the token of this delivery           worker's parent              worker
`DELIVERY_HEADER`      what a child cannot see of its       worker's parent              worker
                       message: the name of its serializer
=====================  ===================================  ===========================  =====================

The last two are of one delivery: they do not travel with a message that is published again. Headers come
from outside, and Celery and users copy them into other messages: whoever reads one checks its form, and
those that count for one message only name that message.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = [
    "BATCH_HEADER",
    "BEAT_HEADER",
    "CALL_HEADER",
    "COPY_HEADER",
    "DELIVERY_HEADER",
    "NAMED_HEADER",
    "NAME_HEADER",
    "OF_EARLIER_TRIES",
    "OUTAGE_HEADER",
    "PENDING_HEADER",
    "PUT_OFF_HEADER",
    "RETRY_HEADER",
    "TICKET_HEADER",
    "TOKEN_HEADER",
    "attempts_in",
    "attempts_value",
    "pending_in",
    "pending_value",
    "ticket_in",
    "ticket_value",
]

CALL_HEADER = "redislock"
NAME_HEADER = "redislock_name"
NAMED_HEADER = "redislock_named"
TICKET_HEADER = "redislock_ticket"
PENDING_HEADER = "redislock_pending"
RETRY_HEADER = "redislock_retry"
OUTAGE_HEADER = "redislock_outage"
COPY_HEADER = "redislock_copy"
PUT_OFF_HEADER = "redislock_put_off"
BATCH_HEADER = "redislock_batch"
BEAT_HEADER = "redislock_beat"
TOKEN_HEADER = "redislock_token"  # noqa: S105
DELIVERY_HEADER = "redislock_delivery"

#: What counts the tries of a task until it has its lock, and what it needed for that: its own retries begin
#: to count anew.
OF_EARLIER_TRIES = (
    RETRY_HEADER,
    COPY_HEADER,
    PUT_OFF_HEADER,
    OUTAGE_HEADER,
    TOKEN_HEADER,
    TICKET_HEADER,
)

_OF_A_TICKET = ("id", "lock", "token")


def attempts_value(count: int, waited_s: float) -> dict[str, Any]:
    """Return the header of a task that was tried before, for one reason.

    Args:
        count: How often.
        waited_s: How long it has waited between these attempts, seconds.
    """
    return {"count": count, "waited": waited_s}


def attempts_in(headers: Mapping[str, Any] | None, name: str) -> tuple[int, float]:
    """Return count and seconds from the header of this name; (0, 0.0) if it is not there."""
    found = (headers or {}).get(name)
    if not isinstance(found, Mapping):
        return 0, 0.0
    return int(found.get("count", 0)), float(found.get("waited", 0))


def ticket_value(task_id: str, lock_name: str, token: str) -> dict[str, str]:
    """Return the header of a message that has a publish lock.

    Args:
        task_id: The message that it is for.
        lock_name: The Redis key of the lock.
        token: Of the publish lock.
    """
    return {"id": task_id, "lock": lock_name, "token": token}


def ticket_in(headers: Mapping[str, Any] | None, task_id: str | None) -> Mapping[str, str]:
    """Return the `ticket_value` of a message; empty if it has none of its own.

    Headers may have been copied from another message: the publish lock of that one does not count.
    """
    found = headers.get(TICKET_HEADER) if headers else None
    # Looked at first: to ask whether None is a mapping takes longer than the rest.
    if found is None:
        return {}
    if not isinstance(found, Mapping) or not all(isinstance(found.get(name), str) for name in _OF_A_TICKET):
        return {}
    return found if found["id"] == task_id else {}


def pending_value(triggered_us: int, lock_name: str = "", token: str = "") -> dict[str, Any]:
    """Return the header of a message that starts a pending run.

    Args:
        triggered_us: When the trigger of the run met the lock, microseconds on the server's clock; a retry of
            the run has only this.
        lock_name: The Redis key of the lock.
        token: Of the claim that published the run.
    """
    if not token:
        return {"triggered_us": triggered_us}
    return {"lock": lock_name, "token": token, "triggered_us": triggered_us}


def pending_in(headers: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Return the `pending_value` of a message; empty if it starts no pending run."""
    found = headers.get(PENDING_HEADER) if headers else None
    return found if found is not None and isinstance(found, Mapping) else {}
