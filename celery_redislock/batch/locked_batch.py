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
    """Return a signature that runs a whole canvas under one lock. Its tasks may be ordinary tasks.

    The lock is taken when the batch is published. It is released when the canvas has ended and none of its
    tasks runs or waits: after its last result, or after a failure or a revocation that ended it.

    Args:
        canvas: A chain, group, chord, or any other signature. Each publication takes a copy of it.
        lock_key: The lock's name. The Redis key is `redislock_prefix` followed by it.
        lock_ttl: Length of the lease until the first message is published, and while a member runs, in
            seconds or as timedelta. The lease is renewed three times in each `lock_ttl`.
        lock_idle: How long the lock is kept while members wait and none runs, in seconds or as timedelta.
        lock_on_conflict: What happens when the lock is busy, decided once for the whole batch. "skip" ends
            every result as ``REVOKED``. "fail" raises `LockBusy`. "retry" publishes the batch later, under
            the ids already returned. "coalesce" publishes it when the lock is free, and only the last of all
            batches that found the lock busy.

    Raises:
        ConfigurationError: An argument is wrong.
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
