"""Redirection: where a node of a cluster sends a command, in the words of any redis-py."""

from __future__ import annotations

import pytest
from redis.exceptions import AskError, MovedError, ResponseError, TryAgainError

from celery_redislock.engine.transport.redirection import Redirection, key_of, redirection

HERE = ("10.0.0.1", 6379)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MovedError("3999 10.0.0.2:6381"), Redirection(3999, ("10.0.0.2", 6381), False)),
        (AskError("3999 10.0.0.2:6381"), Redirection(3999, ("10.0.0.2", 6381), True)),
        (MovedError("1 fe80::1:6381"), Redirection(1, ("fe80::1", 6381), False)),
        (MovedError("1 :6381"), Redirection(1, ("10.0.0.1", 6381), False)),
        (ResponseError("MOVED 1 h:6381"), Redirection(1, ("h", 6381), False)),
        (ResponseError("ASK 1 h:6381"), Redirection(1, ("h", 6381), True)),
        (ResponseError("1 h:6381"), None),
        (TryAgainError("Multiple keys request during rehashing of slot"), None),
        (ConnectionError("MOVED"), None),
    ],
)
def test_a_redirection_is_understood(error: Exception, expected: Redirection | None) -> None:
    assert redirection(error, HERE) == expected


def test_the_first_key_of_a_command_is_found() -> None:
    assert key_of(("EVALSHA", "sha", 2, b"k", b"other")) == b"k"
    assert key_of(("EVAL", "source", 1, b"k")) == b"k"
    assert key_of(("BLPOP", b"k", "1")) == b"k"
    assert key_of(("GET", b"k")) == b"k"
    assert key_of(("PING",)) is None
    assert key_of(("SCRIPT", "LOAD", "source")) is None
