"""Outcomes: what a child tells its worker's parent arrives there as what it was."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from billiard.einfo import ExceptionInfo
from celery.exceptions import Ignore

from celery_redislock.messages import celery_exceptions
from celery_redislock.messages.celery_exceptions import LockFreed

OUTCOMES = [getattr(celery_exceptions, name) for name in celery_exceptions.__all__]
TOLD = [outcome for outcome in OUTCOMES if outcome is not LockFreed]


@pytest.mark.parametrize("outcome", TOLD)
def test_an_outcome_survives_the_way_to_the_parent(outcome: Any) -> None:
    try:
        raise outcome("lock 'a' is busy")
    except Ignore:
        told = pickle.loads(pickle.dumps(ExceptionInfo(internal=True))).exception

    assert isinstance(told, outcome)
    assert told.args == ("lock 'a' is busy",)


def test_what_celery_never_sees_is_not_ignored_by_it() -> None:
    assert not issubclass(LockFreed, Ignore)


@pytest.mark.parametrize("outcome", TOLD)
def test_each_outcome_is_in_the_table(outcome: Any) -> None:
    assert f"`{outcome.__name__}`" in str(celery_exceptions.__doc__)
