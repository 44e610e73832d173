"""Outcomes: what a child tells its worker's parent arrives there as what it was."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from billiard.einfo import ExceptionInfo
from celery.exceptions import Ignore

from celery_redislock.messages import outcomes
from celery_redislock.messages.outcomes import LockFreed

OUTCOMES = [getattr(outcomes, name) for name in outcomes.__all__]
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
    assert f"`{outcome.__name__}`" in str(outcomes.__doc__)
