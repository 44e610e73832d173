"""Errors travel: through pickle between processes, through JSON in a result backend."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from datetime import datetime, timezone

import pytest
from celery import Celery
from celery.backends.base import Backend

import celery_redislock
from celery_redislock import (
    ConfigurationError,
    Holder,
    LockBusy,
    LockKeyError,
    LockLost,
    RedislockError,
    StoreUnavailable,
)

HOLDER = Holder(
    metadata={"task_id": "0b5c", "host": "worker-1", "pid": "4711"},
    since=datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=timezone.utc),
    lease_left=12.5,
    fencing_token=1767323045678901,
)

EXAMPLES = [
    RedislockError("something about a lock"),
    ConfigurationError("lock_ttl must be positive, not -1"),
    LockKeyError("task shop.pay, argument 'order': a Generator cannot be part of a lock's name"),
    LockBusy("redislock:shop.pay", HOLDER, 2.5),
    LockBusy("redislock:shop.pay", Holder()),
    LockBusy("redislock:shop.pay"),
    LockLost("redislock:shop.pay", "Redis could not be reached before the lease ended"),
    StoreUnavailable("redislock:shop.pay", "connection refused"),
]


def all_errors(root: type[RedislockError] = RedislockError) -> Iterator[type[RedislockError]]:
    """Walk the tree of the package's errors."""
    yield root
    for child in root.__subclasses__():
        if child.__module__.startswith("celery_redislock"):
            yield from all_errors(child)


def assert_same(copy: BaseException, error: RedislockError) -> None:
    """Compare all that a reader of the error can see."""
    assert type(copy) is type(error)
    assert vars(copy) == vars(error)
    assert str(copy) == str(error)
    assert list(copy.args) == list(error.args)


def test_there_is_an_example_of_every_error() -> None:
    assert {type(error) for error in EXAMPLES} == set(all_errors())


@pytest.mark.parametrize("error", EXAMPLES, ids=str)
def test_the_repr_of_an_error_is_its_sentence_as_celery_logs_it(error: RedislockError) -> None:
    assert repr(error) == f"{type(error).__name__}({str(error)!r})"


def test_every_error_is_public() -> None:
    assert {error.__name__ for error in all_errors()} <= set(celery_redislock.__all__)


@pytest.mark.parametrize("error", EXAMPLES, ids=repr)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_an_error_keeps_everything_through_pickle(error: RedislockError, protocol: int) -> None:
    assert_same(pickle.loads(pickle.dumps(error, protocol)), error)


@pytest.mark.parametrize("error", EXAMPLES, ids=repr)
def test_an_error_keeps_everything_through_a_json_result_backend(error: RedislockError) -> None:
    with Celery(set_as_current=False) as app:
        backend = Backend(app, serializer="json")
        stored = backend.encode(backend.prepare_exception(error))

        assert_same(backend.exception_to_python(backend.decode(stored)), error)


@pytest.mark.parametrize("error", EXAMPLES, ids=repr)
def test_an_error_that_knows_its_lock_names_it(error: RedislockError) -> None:
    name = getattr(error, "name", "")

    assert name in str(error)


def test_a_busy_lock_tells_who_has_it_since_when_and_what_to_do() -> None:
    text = str(LockBusy("redislock:shop.pay", HOLDER))

    for fact in ("task_id 0b5c", "host worker-1", "2026-01-02T03:04:05", "12.5 s", "try again"):
        assert fact in text


def test_errors_can_be_caught_by_what_they_mean_in_python() -> None:
    assert issubclass(ConfigurationError, ValueError)
    assert issubclass(LockKeyError, TypeError)


@pytest.mark.parametrize(
    ("holder", "text"),
    [
        (Holder(), "an unknown holder"),
        (Holder(lease_left=2.5), "an unknown holder, lease left 2.5 s"),
        (Holder({"task": "shop.pay", "id": "7"}, lease_left=2.5), "task shop.pay, id 7, lease left 2.5 s"),
    ],
)
def test_a_message_says_who_the_holder_is_or_that_it_is_unknown(holder: Holder, text: str) -> None:
    assert (
        str(LockBusy("stock", holder))
        == f"lock 'stock' is busy (held by: {text}); try again later or wait longer for it"
    )
