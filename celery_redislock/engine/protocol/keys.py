"""Keys: a lock's name -> its companion keys, all in the lock's own hash slot (pure)."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import NamedTuple

from redis.crc import key_slot

from ...errors import ConfigurationError

#: Companion keys begin with this, so that no pattern over lock names finds them.
COMPANION = b"redislock."


class LockKeys(NamedTuple):
    """The keys of one lock. The scripts say what each holds."""

    lock: bytes
    holder: bytes
    done: bytes
    waiters: bytes
    seen: bytes
    questions: bytes
    reservation: bytes
    pending: bytes
    members: bytes
    inflight: bytes
    ledger: bytes

    def forced_from(self, owner: bytes) -> tuple[bytes, ...]:
        """Return the keys of a release by force.

        Args:
            owner: What the lock's key holds: a token, or what another program has put there.
        """
        return self.lock, self.holder, self.waiters, self.seen, self.questions + b":" + owner[:16]

    def renewed_by(self, token: str) -> tuple[bytes, ...]:
        """Return the keys of a renewal by the holder with this token."""
        return self.lock, self.holder, self.pending, self.questions_of(token)

    @property
    def inspected(self) -> tuple[bytes, ...]:
        """The keys that tell who has the lock, and who waits for it."""
        group = group_keys_of(self)
        return self.lock, self.holder, self.waiters, self.seen, group.sharers, group.places, group.limit

    @property
    def shared(self) -> tuple[bytes, bytes, bytes, bytes]:
        """The keys that the members of a batch keep alive."""
        return self.lock, self.holder, self.members, self.inflight

    def stayed_by(self, mark: str) -> tuple[bytes, ...]:
        """Return the keys of a renewal by a member of a batch.

        Args:
            mark: The token of the batch, and then the member.
        """
        return *self.shared, self.questions_of(mark)

    def questions_of(self, token: str) -> bytes:
        """Return the key that remembers for a minute what was answered to the questions of a token."""
        # Half of its 128 bits: there may be many such keys, and they live for a minute.
        return self.questions + b":" + token[:16].encode()

    def mailbox(self, token: str) -> bytes:
        """Return the list on which the waiter with this token sleeps."""
        return self.waiters + b":" + token.encode()


class GroupKeys(NamedTuple):
    """The keys beside a lock that only those need who share it, and those who wait to share it."""

    sharers: bytes
    places: bytes
    gaps: bytes
    ways: bytes
    limit: bytes


#: What the lock's key holds while it is paused and nobody holds it: see `pause_mark` in ``turn.lua``.
PAUSED = b"see:redislock.limit:it-is-paused"
#: What the lock's key holds while several hold the lock: see ``scripts/shared/group.lua``.
GROUP_MARK = b"see:redislock.sharers:and:places"


@lru_cache(maxsize=4096)
def group_keys_of(keys: LockKeys) -> GroupKeys:
    """Return what stands beside a lock for those who share it, in the same slot as its other keys."""
    in_slot = keys.holder.removeprefix(COMPANION + b"holder")
    return GroupKeys(*[COMPANION + name.encode() + in_slot for name in GroupKeys._fields])


#: What the companion keys begin with, in the order of `LockKeys`.
_COMPANIONS = [COMPANION + name.encode() for name in LockKeys._fields[1:]]


def keys_of(lock_name: str) -> LockKeys:
    """Return the keys of a lock.

    The lock is the key `lock_name`, exactly that. Its companions differ for different names, whatever
    braces those have, and hash to the same slot: a cluster runs no script over two slots.

    Raises:
        ConfigurationError: The name is not a text that Redis can store, is empty, or is a companion's.
    """
    if not isinstance(lock_name, str) or not lock_name:
        raise ConfigurationError(f"a lock's name must be a non-empty str, not {type(lock_name).__name__}")
    return _keys_of(lock_name)


@lru_cache(maxsize=4096)
def _keys_of(lock_name: str) -> LockKeys:
    try:
        lock = lock_name.encode()
    except UnicodeEncodeError as error:
        raise ConfigurationError(f"a lock's name must be encodable as UTF-8: {error.reason}") from None
    if lock.startswith(COMPANION):
        raise ConfigurationError(
            f"a lock's name must not begin with {COMPANION.decode()!r}: such keys belong to other locks"
        )
    in_slot = _in_slot_of(lock) if b"}" in lock else b":{" + lock + b"}"
    return LockKeys(lock, *[companion + in_slot for companion in _COMPANIONS])


def lock_beside(companion: bytes, word: str) -> bytes:
    """Return the name of the lock whose companion a key is.

    Args:
        companion: The key.
        word: Which of the companions it is: a field of `LockKeys`.
    """
    in_slot = companion.removeprefix(COMPANION + word.encode())
    if in_slot.startswith(b":{"):
        return in_slot[2:-1]
    return in_slot[1:] if in_slot.startswith(b"@") else in_slot.partition(b"}")[2]


def index_of(prefix: str) -> bytes:
    """Return the key that lists the locks with this prefix of which runs may be pending.

    It is in a slot of its own, and no companion of any lock.
    """
    return COMPANION + b"index:{" + prefix.encode() + b"}"


def statistics_of(prefix: str) -> bytes:
    """Return what the keys of the statistics of these locks begin with: all of a prefix are in one slot."""
    tag = prefix.encode()
    # Redis hashes the whole key where nothing stands between the braces.
    in_slot = b"{.}@" + tag if tag[:1] in (b"", b"}") else b"{" + tag + b"}"
    return COMPANION + b"stats:" + in_slot


def _in_slot_of(lock: bytes) -> bytes:
    """Return a suffix that carries the whole name, with a brace in it, and puts a key into its slot.

    Redis hashes what stands between the first ``{`` and the first ``}`` after it, if that is not
    empty; else the whole key. The separators differ, so that no two names share a suffix.
    """
    opening = lock.find(b"{")
    if 0 <= opening < lock.find(b"}", opening + 1) - 1:
        return b"@" + lock
    return b"#{" + _tag_in_slot(key_slot(lock)) + b"}" + lock


@cache
def _tags() -> dict[int, bytes]:
    tags: dict[int, bytes] = {}
    number = 0
    while len(tags) < 16384:
        tag = b"%x" % number
        tags.setdefault(key_slot(tag), tag)
        number += 1
    return tags


def _tag_in_slot(slot: int) -> bytes:
    return _tags()[slot]
