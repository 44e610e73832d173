"""locked_batch: makes a canvas a batch, which runs under one lock."""

from __future__ import annotations

from datetime import timedelta

from celery import Signature

from ..config.options import OF_BATCH
from ..durations import to_ms
from ..errors import ConfigurationError
from .launch import BatchTerms
from .receivers import install
from .signature import LockedBatch

Duration = float | timedelta


def locked_batch(
    canvas: Signature,
    *,
    lock_key: str,
    lock_ttl: Duration = 30,
    lock_idle: Duration = 300,
    lock_on_conflict: str = "skip",
) -> LockedBatch:
    """Return a canvas that runs under one lock, whatever tasks are in it.

    The lock is taken when the batch is published, and given back when the canvas has ended and none of
    its tasks runs or waits: after its last result, or after a failure or revocation that ended it.

    Args:
        canvas: A chain, group, chord, or any signature. A copy is taken at each publication.
        lock_key: The lock's name; the Redis key is `redislock_prefix` and this.
        lock_ttl: Length of the lease, seconds, until the first message is published, and while a member
            runs: it is renewed every third of it. A dead worker holds the lock for so long.
        lock_idle: For how long, seconds, the lock is kept while members wait and none runs.
        lock_on_conflict: When the lock is busy: "skip" ends every result of the batch as ``REVOKED``;
            "fail" raises `LockBusy`; "retry" publishes it later, under the ids already returned;
            "coalesce" too, once the lock is free, and of all that meet it only the last: every result
            of the others ends as ``REVOKED`` and names that.

    Raises:
        ConfigurationError: An argument cannot be right.
    """
    install()  # again: Celery's fixtures for tests make apps forget what they had learned
    if not isinstance(canvas, Signature):
        raise ConfigurationError(
            f"locked_batch needs a signature, such as chain(...), not {type(canvas).__name__}"
        )
    if not isinstance(lock_key, str) or not lock_key:
        raise ConfigurationError("lock_key of a locked batch must be a non-empty str")
    if lock_on_conflict not in OF_BATCH:
        valid = ", ".join(map(repr, OF_BATCH))
        raise ConfigurationError(f"lock_on_conflict of a locked batch must be one of {valid}")
    terms = BatchTerms(lock_key, to_ms(lock_ttl, "lock_ttl"), to_ms(lock_idle, "lock_idle"), lock_on_conflict)
    return LockedBatch(canvas, terms.as_dict())
