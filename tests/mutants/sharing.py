"""Wrong shared locks for chaos: each leaves out one rule, and the verdict must see it."""

from __future__ import annotations

from celery_redislock.engine.protocol import shared

from .scripts import go_wrong


def without_limit() -> None:
    """One more comes in than the limit, where others have places."""
    go_wrong(shared.ACQUIRE, "number < tonumber(limit)", "number <= tonumber(limit)")


def without_mark() -> None:
    """The mark ends before the lease of who came first: a writer, or a stranger, comes in beside it."""
    go_wrong(
        shared.ACQUIRE,
        "redis.call('SET', lock, group_mark(), 'PX', longest)",
        "redis.call('SET', lock, group_mark(), 'PX', 1)",
    )


DOUBLES = {"limit": without_limit, "mark": without_mark}
