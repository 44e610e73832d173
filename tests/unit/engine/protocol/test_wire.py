"""Wire: a command is packed as redis-py packs it, whatever its words are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.connection import PythonRespSerializer
from redis.utils import str_if_bytes

from celery_redislock.engine.protocol.wire import Argument, packed

WORDS = st.one_of(st.text(), st.binary(), st.integers(), st.floats(allow_nan=False))


def as_redis_py_does(*words: Argument) -> bytes:
    """Return a command as redis-py sends it."""

    def encoded(word: Argument) -> bytes:
        return word if isinstance(word, bytes) else str(word).encode()

    return b"".join(PythonRespSerializer(6000, encoded).pack(*words))


@given(st.lists(WORDS))
def test_any_command_is_packed_as_redis_py_does(words: list[Argument]) -> None:
    assert packed(("SET", *words)) == as_redis_py_does("SET", *words)


@given(st.lists(st.binary()), st.lists(WORDS))
def test_a_script_is_packed_as_redis_py_does(keys: list[bytes], words: list[Argument]) -> None:
    command = ("EVALSHA", "0" * 40, len(keys), *keys, *words)

    assert packed(command) == as_redis_py_does(*command)


@pytest.mark.parametrize("number", [1, 1.0])
def test_numbers_that_are_equal_keep_their_own_texts(number: float) -> None:
    assert str_if_bytes(packed(("SET", "key", number))).endswith(f"\r\n{number}\r\n")


def test_a_truth_is_packed_as_a_number() -> None:
    assert packed(("SET", "key", True)).endswith(b"\r\n$1\r\n1\r\n")


@pytest.mark.parametrize("length", [255, 256, 257, 70_000])
def test_a_word_of_any_length_is_packed_as_redis_py_does(length: int) -> None:
    command = ("SET", "key", "é" * length, b"x" * length, "x" * length)

    assert packed(command) == as_redis_py_does(*command)
