"""Versions: which ones the tests run with, for the promises that the oldest cannot keep."""

from __future__ import annotations

import celery
import pytest
import redis

CELERY = tuple(map(int, celery.__version__.split(".")[:2]))

#: `docs/explanation/ends.md` says what Celery 5.4 does otherwise.
IS_5_4 = CELERY < (5, 5)


def not_with_5_4(reason: str) -> pytest.MarkDecorator:
    """Skip a test, or one of its cases, with Celery 5.4."""
    return pytest.mark.skipif(IS_5_4, reason=f"Celery 5.4: {reason}")


def not_with_redis_5_0_0(reason: str) -> pytest.MarkDecorator:
    """Skip a test, or one of its cases, with redis-py 5.0.0."""
    return pytest.mark.skipif(redis.__version__ == "5.0.0", reason=f"redis-py 5.0.0: {reason}")
