"""Memory: the same promises in the Redis of ``memory://``, but for those that need a network between."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from celery_redislock.config.memory import MemoryRedis

from . import test_shared
from .kinds import REDIS_LOCK
from .promises import CONTRACT, Promise, promises_of, takes_a_trial_alone
from .trial import Trial


def needs_a_network(promise: Promise) -> bool:
    """Whether a promise is about replies that are lost, or asks the server what it has counted."""
    return any(word in inspect.getsource(promise) for word in ("proxy", "victim", "woken("))


PROMISES = [
    promise
    for promise in promises_of((*CONTRACT, test_shared))
    if takes_a_trial_alone(promise) and not needs_a_network(promise)
]


@pytest.fixture
def memory() -> Iterator[Any]:
    """Give an arena without a network."""
    client = MemoryRedis().client
    yield SimpleNamespace(client=client, proxy=None, victim=None)
    client.flushall()


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
def test_a_promise_is_kept_in_memory(promise: Promise, memory: Any) -> None:
    promise(Trial(REDIS_LOCK, memory))


def test_most_promises_are_asked() -> None:
    """Those that are not are about a network, or of a server's statistics."""
    assert len(PROMISES) >= 40
