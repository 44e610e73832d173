"""Exclusive: what is asked about a lock that one holder has, and what the answers mean.

Each question is a function of the lock's keys that returns a script with its keys and arguments, or a
plain command. Each has a function beside it that reads the reply. Whoever sends it, and how, is not
known here: ``lease/verbs.py`` does.

A question may be sent twice: the scripts answer a second send as they answered the first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any, NamedTuple

from ...holder import Holder
from . import holder_record
from .keys import GROUP_MARK, LockKeys
from .limit import Limit
from .limit import read as read_limit
from .script import LOCK_SCRIPTS, Question, Script
from .wire import Command

ACQUIRE = Script.load(LOCK_SCRIPTS, "acquire")
RELEASE = Script.load(LOCK_SCRIPTS, "release")
LEAVE = Script.load(LOCK_SCRIPTS, "leave")
FORCE_RELEASE = Script.load(LOCK_SCRIPTS, "force_release")
INSPECT = Script.load(LOCK_SCRIPTS, "inspect")
RENEW = Script.load(LOCK_SCRIPTS, "renew")
RING = Script.load(LOCK_SCRIPTS, "ring")

#: For how long the work that was done last is remembered, if nothing else is said.
REMEMBERED_MS = 3_600_000

#: What `interrupt` leaves in a mailbox; a wake-up is something else.
INTERRUPT = b"look"


class Granted(NamedTuple):
    """The lock is the caller's.

    Attributes:
        fencing_token: The number of this grant.
        sent_at: Local clock, seconds: just before the request was first sent that Redis granted.
        last_done: Number of the work that was done last under this name; empty when nobody said.
        has_pending: Runs are, or may be, pending until the lock is free.
        slot: Its place, where the lock has a limit.
    """

    fencing_token: int
    sent_at: float
    last_done: str
    has_pending: bool = False
    slot: int | None = None


class Busy(NamedTuple):
    """Someone else has the lock.

    Attributes:
        holder: Who.
        sleep_s: How long to sleep before asking again, seconds.
    """

    holder: Holder
    sleep_s: float


class Released(NamedTuple):
    """The lock was the caller's, and is free or will be.

    Attributes:
        has_pending: Runs are, or may be, pending.
    """

    has_pending: bool


class Refused(NamedTuple):
    """The lock is not the caller's any more.

    Attributes:
        is_forced: It was taken by force.
    """

    is_forced: bool


@dataclass(frozen=True)
class WaiterSeen:
    """Who stands in line for a lock. It never shows the token.

    Attributes:
        metadata: What it says of itself, as a holder does: task, id, host, pid; empty if it says nothing.
        since: When it began to wait, by the clock of the Redis server.
    """

    metadata: Mapping[str, str]
    since: datetime

    def as_dict(self) -> dict[str, Any]:
        """Return the same facts as plain JSON types."""
        return {"metadata": dict(self.metadata), "since": self.since.isoformat()}


@dataclass(frozen=True)
class Inspection:
    """A snapshot of a lock that is held, or paused.

    Attributes:
        name: The Redis key.
        holder: Who has it; of several, who has had it for longest; of none, the pause.
        waiters: How many wait for it.
        is_kept: It was released, and is only kept busy for its min_hold.
        line: Who waits, first come first: those that are believed alive among the first hundred.
        holders: All who have it, the longest first.
        is_shared: Others may come to have it too.
        kept: How many places count still, for their min_hold, that were given back.
        limit: What an operator has set for it.
        own_limit: The limit with which the last of those who share it came in; None: it has none.
    """

    name: str
    holder: Holder
    waiters: int
    is_kept: bool
    line: tuple[WaiterSeen, ...] = ()
    holders: tuple[Holder, ...] = ()
    is_shared: bool = False
    kept: int = 0
    limit: Limit | None = None
    own_limit: int | None = None

    @property
    def is_paused(self) -> bool:
        """Whether nobody has it, and nobody may take it."""
        return self.holder.is_pause

    @property
    def places(self) -> int | None:
        """How many may share it, by what is set for all or else by who came in last; None: any number."""
        return self.limit.limit if self.limit and self.limit.limit is not None else self.own_limit


#: What a release answers when the lock was the caller's and nothing is pending.
DONE = 1
#: What a renewal or a release answers when the lock is not the caller's any more -> what that means.
REFUSED = {0: Refused(is_forced=False), -1: Refused(is_forced=True)}
#: What a release answers -> what it means.
RELEASED: dict[int, Released | Refused]
RELEASED = {DONE: Released(has_pending=False), 2: Released(has_pending=True), **REFUSED}
#: What the script says in place of the lease left when the lock is free: PTTL's word for no such key.
_FREE = -2


def number_of(at: float) -> str:
    """Return the number of a question: larger than those that the same machine asked before.

    Args:
        at: The local clock when it is asked, seconds.
    """
    return f"{int(at * 1e6)}"


def acquire(
    keys: LockKeys,
    token: str,
    ttl_ms: int,
    patience_ms: int,
    metadata: str,
    asked_at: float,
    ticket: str = "",
    mark: str = "",
) -> Question:
    """Ask for the lock; `acquired` reads the reply.

    Args:
        keys: Of the lock.
        token: 32 characters, made before the first send.
        ttl_ms: Length of the lease, milliseconds.
        patience_ms: How long the caller would sleep if refused; 0: it does not wait (any more).
        metadata: What the holder shows of itself, JSON.
        asked_at: The local clock, seconds.
        ticket: Token of the publish lock that the grant ends; or nothing.
        mark: In place of the token, where that was given back and takes the lock once more.
    """
    k = keys
    asked: tuple[bytes, ...]
    asked = (k.lock, k.holder, k.done, k.waiters, k.seen, k.pending, k.questions_of(mark or token))
    if not ticket:
        return ACQUIRE, asked, (token, ttl_ms, patience_ms, metadata, number_of(asked_at))
    asked = (*asked, keys.reservation, keys.questions_of(ticket))
    return ACQUIRE, asked, (token, ttl_ms, patience_ms, metadata, number_of(asked_at), ticket)


def acquire_again(question: Question, asked_at: float) -> Question:
    """Return a question that `acquire` made, to be asked anew at another time."""
    script, keys, (token, ttl_ms, patience_ms, metadata, _, *ticket) = question
    return script, keys, (token, ttl_ms, patience_ms, metadata, number_of(asked_at), *ticket)


def undo_of(question: Question) -> Question:
    """Return what undoes a question that `acquire` made, and none that was asked later; see `leave`."""
    _, (lock, holder, _, waiters, seen, _, questions, *_), (token, _, _, _, number, *_) = question
    return LEAVE, (lock, holder, waiters, seen, questions), (token, number)


def acquired(reply: Any, sent_at: float) -> Granted | Busy | None:
    """Read the reply to `acquire`.

    Args:
        reply: Of the script.
        sent_at: Local clock, seconds: just before the question was first sent.

    Returns:
        None: what this question was granted is gone already.
    """
    if reply[0] == 1:
        return Granted(int(reply[1]), sent_at, reply[2].decode(), bool(reply[3]))
    if reply[0] == -1:
        return None
    _, sleep_ms, left_ms, description = reply
    return Busy(holder_record.read(description, left_ms), sleep_ms / 1000)


def leave(keys: LockKeys, token: str, asked_at: float, mark: str = "") -> Question:
    """Give up the place in line, or what was granted unseen; a turn that came already goes to the next.

    It undoes the questions of this token that were asked until `asked_at`.
    """
    left = (keys.lock, keys.holder, keys.waiters, keys.seen, keys.questions_of(mark or token))
    return LEAVE, left, (token, number_of(asked_at))


def number_of_work(work: str) -> str:
    """Return the number by which Redis remembers a work: it keeps a number in less space than a text.

    Two works have the same number once in 2**56.
    """
    digest = hashlib.blake2b(work.encode(errors="surrogatepass"), digest_size=7).digest()
    return str(int.from_bytes(digest, "big"))


def release(
    keys: LockKeys,
    token: str,
    min_hold_ms: int,
    done: str,
    remembered_ms: int = REMEMBERED_MS,
    ticket: str = "",
    *,
    is_long: bool = True,
) -> Question:
    """Give the lock back; `released` reads the reply.

    Args:
        keys: Of the lock.
        token: Of the holder.
        min_hold_ms: The lock stays busy until this long after it was taken.
        done: The work that was done under the lock, for the next holder to know; or nothing.
        remembered_ms: For how long it is remembered, milliseconds.
        ticket: As in `acquire`: if it had one, the publish lock of a copy of the work ends too.
        is_long: The lease was longer than a minute, or nobody knows: the record of the holder is cut short.
    """
    k = keys
    asked: tuple[bytes, ...]
    asked = (k.lock, k.holder, k.waiters, k.seen, k.done, k.pending, k.questions_of(token))
    if ticket:
        asked = (*asked, keys.reservation)
    number = number_of_work(done) if done else ""
    return RELEASE, asked, (token, min_hold_ms, done, number, remembered_ms, int(is_long))


def released(reply: Any) -> Released | Refused:
    """Read the reply to `release`."""
    return RELEASED[reply]


def renew(keys: LockKeys, token: str, ttl_ms: int) -> Question:
    """Start the lease anew; `renewed` reads the reply."""
    return RENEW, keys.renewed_by(token), (token, ttl_ms)


def renewed(reply: Any) -> Refused | None:
    """Read the reply to `renew`; None: the lease has begun anew."""
    return REFUSED.get(reply)


def sleep(mailboxes: Sequence[bytes], seconds: float) -> Command:
    """Sleep until one of the mailboxes has a message: the reply is that mailbox and the message."""
    # BLPOP takes 0 for "without end".
    return ("BLPOP", *mailboxes, f"{max(seconds, 0.001):.3f}")


def interrupt(mailbox: bytes) -> Question:
    """Leave a message that is no wake-up: the sleeper is to look whose mailboxes it reads."""
    return RING, (mailbox,), ()


def owner(keys: LockKeys) -> Command:
    """Ask for the token that the lock is held with."""
    return ("GET", keys.lock)


def exists(keys: LockKeys) -> Command:
    """Ask whether anyone holds the lock."""
    return ("EXISTS", keys.lock)


def force_release(keys: LockKeys, owner: bytes) -> Question:
    """Take the lock from the holder with this token, who is told so when it renews or releases."""
    return FORCE_RELEASE, keys.forced_from(owner), (owner,)


def inspect(keys: LockKeys) -> Question:
    """Ask who has the lock; `inspected` reads the reply."""
    return INSPECT, keys.inspected, (GROUP_MARK,)


def inspected(name: str, reply: Any) -> Inspection | None:
    """Read the reply to `inspect` about the lock with this name; None: it is free."""
    left_ms, description, waiters, is_kept, line, sharers, record, is_paused = reply
    if left_ms == _FREE:
        return None
    limit = read_limit(name, record) if record else None
    arrivals = zip(line[::2], line[1::2], strict=True)
    in_line = tuple(_waiter(*each) for each in arrivals)
    places = [_place(*sharers[at : at + 4]) for at in range(0, len(sharers), 4)]
    if not places:
        holder = holder_record.read(description, left_ms)
        alone = () if is_paused else (holder,)
        return Inspection(name, holder, waiters, bool(is_kept), in_line, alone, limit=limit)
    held = [place for place in places if not place.is_kept]
    holders = tuple(place.holder for place in sorted(held or places, key=_number_of))
    own_limit = max(places, key=_number_of).limit
    kept = len(places) - len(held)
    return Inspection(name, holders[0], waiters, not held, in_line, holders, True, kept, limit, own_limit)


class _Place(NamedTuple):
    holder: Holder
    is_kept: bool
    limit: int | None


def _place(left_ms: int, is_kept: int, place: bytes, description: bytes) -> _Place:
    """Read one of those who share a lock; its place is ``<slot>/<limit>``, of any number ``<slot>/-``."""
    slot, _, of = place.partition(b"/")
    number, limit = (None, None) if of == b"-" else (int(slot), int(of))
    return _Place(replace(holder_record.read(description, left_ms), slot=number), bool(is_kept), limit)


def _number_of(place: _Place) -> int:
    return place.holder.fencing_token or 0


def _waiter(arrived_us: bytes, metadata: bytes) -> WaiterSeen:
    since = datetime.fromtimestamp(float(arrived_us) / 1e6, timezone.utc)
    return WaiterSeen(holder_record.read_metadata(metadata.decode()), since)
