"""Names: whatever a lock is called, its companion keys are its own and live in its hash slot."""

from __future__ import annotations

import binascii

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celery_redislock import ConfigurationError
from celery_redislock.engine.protocol.keys import LockKeys, keys_of, lock_beside

TOKEN = "0123456789abcdef" * 2

#: Names made of what hash tags are made of.
NASTY = ["a", "{a}", "a{b}", "}{", "{}x", "a}b", "a\0b", "x" * 1024, "锁{名}", "{{a}}", "{}{a}"]

names = st.text(min_size=1, max_size=30) | st.text("{}ab:@#", min_size=1, max_size=8)


def slot(key: bytes) -> int:
    """Return the hash slot of a key, as the specification of Redis Cluster has it."""
    opening = key.find(b"{")
    closing = key.find(b"}", opening + 1)
    if opening >= 0 and closing > opening + 1:
        key = key[opening + 1 : closing]
    return binascii.crc_hqx(key, 0) % 16384


def all_keys(keys: LockKeys) -> list[bytes]:
    """List the keys of a lock."""
    return [*keys, keys.mailbox(TOKEN)]


def valid(name: str) -> bool:
    """Whether Redis can store the name, and it is none of our companions'."""
    return not name.startswith("redislock.") and not any("\ud800" <= char <= "\udfff" for char in name)


def test_the_slot_is_computed_as_redis_does() -> None:
    assert slot(b"123456789") == 0x31C3
    assert slot(b"{user1000}.following") == slot(b"user1000")
    assert slot(b"foo{}{bar}") == binascii.crc_hqx(b"foo{}{bar}", 0) % 16384


@pytest.mark.parametrize("name", NASTY)
def test_the_lock_is_the_key_with_that_very_name(name: str) -> None:
    assert keys_of(name).lock == name.encode()


@given(names.filter(valid))
def test_all_keys_of_a_lock_are_in_its_slot(name: str) -> None:
    assert {slot(key) for key in all_keys(keys_of(name))} == {slot(name.encode())}


@pytest.mark.parametrize("name", NASTY)
def test_all_keys_of_a_lock_with_a_nasty_name_are_in_its_slot(name: str) -> None:
    assert {slot(key) for key in all_keys(keys_of(name))} == {slot(name.encode())}


@given(st.sets(names.filter(valid), min_size=2, max_size=10))
def test_no_two_locks_share_a_key(several: set[str]) -> None:
    keys = [key for name in several for key in all_keys(keys_of(name))]

    assert len(set(keys)) == len(keys)


def test_no_two_locks_with_nasty_names_share_a_key() -> None:
    keys = [key for name in NASTY for key in all_keys(keys_of(name))]

    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("name", ["", None, b"name", 5, ["name"], "\ud800"], ids=repr)
def test_what_redis_cannot_store_as_a_text_is_no_name(name: object) -> None:
    with pytest.raises(ConfigurationError, match="name"):
        keys_of(name)


def test_a_name_that_could_be_another_locks_companion_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"must not begin with 'redislock\.'"):
        keys_of(keys_of("a").done.decode())


@given(names.filter(valid))
def test_a_companion_tells_whose_it_is(name: str) -> None:
    assert lock_beside(keys_of(name).reservation, "reservation") == name.encode()
