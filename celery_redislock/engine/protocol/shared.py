"""Shared: what is asked about a lock that several hold at once, and what the answers mean.

The questions are those of ``exclusive.py``, by the same names, as methods of `Words`: whoever sends them need
not know which kind of lock it is. What Redis keeps of the holders is told in ``scripts/shared/sharers.lua``.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from . import exclusive
from .exclusive import REMEMBERED_MS, Busy, Granted, Refused, Released, number_of, number_of_work
from .keys import LockKeys, group_keys_of
from .script import Question, Script
from .wire import Command

_SCRIPTS = files(__package__).joinpath("..", "scripts", "shared")
ACQUIRE = Script.load(_SCRIPTS, "acquire")
RELEASE = Script.load(_SCRIPTS, "release")
LEAVE = Script.load(_SCRIPTS, "leave")
FORCE_RELEASE = Script.load(_SCRIPTS, "force_release")
RENEW = Script.load(_SCRIPTS, "renew")
OWNED = Script.load(_SCRIPTS, "owned")


def renewed_by(keys: LockKeys, token: str) -> tuple[bytes, ...]:
    """Return the keys of a renewal by the holder with this token."""
    group = group_keys_of(keys)
    return keys.lock, keys.holder, keys.questions_of(token), group.sharers, group.places, group.gaps


class Words:
    """The questions about a lock that at most `limit` hold at once.

    Args:
        limit: None: any number.
        min_hold_ms: A place counts until so long after it was taken.
    """

    def __init__(self, limit: int | None, min_hold_ms: int = 0) -> None:
        self.limit = limit
        self._limit = "-" if limit is None else limit
        self._min_hold_ms = min_hold_ms

    def acquire(
        self,
        keys: LockKeys,
        token: str,
        ttl_ms: int,
        patience_ms: int,
        metadata: str,
        asked_at: float,
        ticket: str = "",  # noqa: ARG002 - as the exclusive lock is asked; RedisLock refuses one
        mark: str = "",
    ) -> Question:
        """Ask for a place, as `exclusive.acquire` asks for the lock."""
        terms = (token, ttl_ms, patience_ms, metadata, number_of(asked_at), self._limit, self._min_hold_ms)
        return ACQUIRE, _asked(keys, mark or token), terms

    def acquire_again(self, question: Question, asked_at: float) -> Question:
        """Return a question that `acquire` made, to be asked anew at another time."""
        script, keys, (token, ttl_ms, patience_ms, metadata, _, *terms) = question
        return script, keys, (token, ttl_ms, patience_ms, metadata, number_of(asked_at), *terms)

    def undo_of(self, question: Question) -> Question:
        """Return what undoes a question that `acquire` made, and none that was asked later."""
        asked, arguments = question[1:]
        return LEAVE, asked[:9], (arguments[0], arguments[4])

    def acquired(self, reply: Any, sent_at: float) -> Granted | Busy | None:
        """Read the reply to `acquire`."""
        if reply[0] != 1:
            return exclusive.acquired(reply, sent_at)
        _, fencing_token, last_done, has_pending, slot = reply
        place = slot if slot >= 0 else None
        return Granted(int(fencing_token), sent_at, last_done.decode(), bool(has_pending), place)

    def leave(self, keys: LockKeys, token: str, asked_at: float, mark: str = "") -> Question:
        """Give up the place in line, or what was granted unseen; the next in line come in."""
        return LEAVE, _asked(keys, mark or token)[:10], (token, number_of(asked_at))

    def release(
        self,
        keys: LockKeys,
        token: str,
        min_hold_ms: int,
        done: str,
        remembered_ms: int = REMEMBERED_MS,
        ticket: str = "",  # noqa: ARG002 - as the exclusive lock is asked
        *,
        is_long: bool = True,
    ) -> Question:
        """Give the place back, as `exclusive.release` gives the lock back; `released` reads the reply."""
        # A place may count for longer than its lease.
        is_long = is_long or self._min_hold_ms > 0
        asked, number = _asked(keys, token), ""
        if done:
            asked, number = (*asked, done_key(keys, done)), number_of_work(done)
        return RELEASE, asked, (token, min_hold_ms, number, remembered_ms, int(is_long))

    def released(self, reply: Any) -> Released | Refused:
        """Read the reply to `release`."""
        return exclusive.released(reply)

    def renew(self, keys: LockKeys, token: str, ttl_ms: int) -> Question:
        """Start the lease of the place anew."""
        return RENEW, renewed_by(keys, token), (token, ttl_ms)


def done_key(keys: LockKeys, work: str) -> bytes:
    """Return the key that is there while it is remembered that this work was done by a shared holder."""
    return keys.done + b":" + number_of_work(work).encode()


def owned(keys: LockKeys, token: str) -> Question:
    """Ask whether the holder with this token has its place still: 1 or 0."""
    group = group_keys_of(keys)
    return OWNED, (keys.lock, group.sharers, group.places), (token,)


def record(keys: LockKeys) -> Command:
    """Ask for the record from which `last_fencing_token` reads."""
    return ("GET", keys.holder)


def last_fencing_token(record: bytes | None) -> int:
    """Return the number of the last grant, from a holder's record; 0 if there is none."""
    words = (record or b"").split(b" ", 2)
    return int(words[1]) if len(words) > 1 else 0


def force_release(keys: LockKeys, last: int) -> Question:
    """Take the lock from all who hold it together.

    Args:
        keys: Of the lock.
        last: The last fencing token when the caller looked.
    """
    asked = (keys.lock, keys.holder, keys.waiters, keys.seen, keys.questions, *group_keys_of(keys))
    return FORCE_RELEASE, asked, (last,)


def _asked(keys: LockKeys, token: str) -> tuple[bytes, ...]:
    k = keys
    return k.lock, k.holder, k.waiters, k.seen, k.questions_of(token), *group_keys_of(k), k.pending
