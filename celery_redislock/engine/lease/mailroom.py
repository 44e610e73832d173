"""Mailroom: waiters of one process for one lock, who sleep on one connection together.

One of them, the reader, sleeps in Redis on the mailboxes of all; the others sleep here until it has
word for them. A newcomer whose mailbox is not read yet has the reader look up, and read his too. A
reader who is woken, or has slept enough, leaves the reading to another.

A waiter may be torn out of any line of this by a signal's handler. So no mutex is held here, each
change is one step, a duty stands under the mailbox of him who has it, and `leave` ends all that he had,
however often it is called. Where two should read at once for a moment, each has word for whom it finds.
"""

from __future__ import annotations

import os
from time import monotonic
from weakref import WeakKeyDictionary, WeakValueDictionary

from ...errors import StoreUnavailable
from ..protocol.exclusive import INTERRUPT
from ..threads import Bell
from ..transport.store import Store
from .verbs import LockVerbs

#: Waiters that share a connection: each message that one of them gets costs a list of all their names.
PLACES = 50


class _Place:
    """Where one waiter sleeps."""

    def __init__(self) -> None:
        self.bell = Bell()
        self.has_word = False
        #: Whether he sleeps here, and does not ask or read just now.
        self.sleeps = False

    def give_word(self) -> None:
        """Wake him: he is to ask for the lock."""
        self.has_word = True
        self.bell.ring()


class Mailroom:
    """Some waiters of this process for one lock; each by his mailbox.

    Args:
        verbs: Of the lock.
    """

    def __init__(self, verbs: LockVerbs) -> None:
        self._verbs = verbs
        self._places: dict[bytes, _Place] = {}
        #: At most one: who reads.
        self._reader: dict[str, bytes] = {}
        #: Which mailboxes are read at this moment, and by which newcomer the reader was told to look up.
        self._read: frozenset[bytes] = frozenset()
        self._told_by = b""

    def enter(self, mailbox: bytes) -> bool:
        """Have a mailbox read with the others, until `leave`; False: no place is left."""
        if len(self._places) >= PLACES:
            return False
        self._places[mailbox] = _Place()
        return True

    def leave(self, mailbox: bytes) -> None:
        """Wait no more, and hand on all duties. May be called again, whatever came of it before."""
        self._places.pop(mailbox, None)
        self._hand_on(mailbox)

    def sleep(self, mailbox: bytes, seconds: float, lateness_s: float) -> None:
        """Sleep until woken, or for so many seconds.

        Args:
            mailbox: Of a waiter who has entered.
            seconds: How long.
            lateness_s: By how much Redis may be late.

        Raises:
            StoreUnavailable: Redis could not be reached.
        """
        until, place = monotonic() + seconds, self._places[mailbox]
        try:
            place.sleeps = True
            while (left := until - monotonic()) > 0 and not place.has_word:
                if self._is_reader(mailbox):
                    place.sleeps = False
                    self._read_for_all(mailbox, until, lateness_s)
                    break
                self._tell_reader(mailbox)
                place.bell.wait(left)
            place.sleeps = place.has_word = False
        except StoreUnavailable:
            self._forget_telling(mailbox)
            raise
        except BaseException:
            self._forget_telling(mailbox)
            self._rouse(mailbox)
            raise
        finally:
            self._hand_on(mailbox)

    def _is_reader(self, mailbox: bytes) -> bool:
        """Whether he reads, who comes to if nobody does."""
        return self._reader.setdefault("is", mailbox) == mailbox

    def _read_for_all(self, mailbox: bytes, until: float, lateness_s: float) -> None:
        while (left := until - monotonic()) > 0:
            self._verbs.store.rest()
            # In this order: who enters after it was looked who is here finds that nobody has told of him.
            self._told_by = b""
            self._read = frozenset(self._places)
            # His own first: of several with word Redis takes the first.
            word = self._verbs.sleep([mailbox, *(self._read - {mailbox})], left, lateness_s)
            if word is None or (word[0] == mailbox and word[1] != INTERRUPT):
                return
            self._pass_on(word[0])

    def _pass_on(self, mailbox: bytes) -> None:
        place = self._places.get(mailbox)
        if place is not None and mailbox != self._reader.get("is"):
            place.give_word()

    def _tell_reader(self, mailbox: bytes) -> None:
        if mailbox in self._read or self._told_by:
            return
        self._told_by = mailbox
        self._verbs.interrupt(self._reader.get("is", mailbox))

    def _forget_telling(self, mailbox: bytes) -> None:
        if self._told_by == mailbox:
            self._told_by = b""

    def _rouse(self, mailbox: bytes) -> None:
        """Have the others look who reads; or ask: a reader who is torn away may have had word for one."""
        was_reader = self._reader.get("is") == mailbox
        for place in list(self._places.values()):
            if was_reader:
                place.give_word()
            else:
                place.bell.ring()

    def _hand_on(self, mailbox: bytes) -> None:
        if self._reader.get("is") == mailbox:
            self._told_by, self._read = b"", frozenset()
            self._reader.pop("is", None)
        self._find_reader()

    def _find_reader(self) -> None:
        # Also when one goes who slept here: it may be he who was asked to take over.
        sleeping = () if self._reader else list(self._places.values())
        for place in sleeping:
            if place.sleeps:
                place.bell.ring()
                break


#: Those that still have places, while somebody is in them.
_rooms: WeakKeyDictionary[Store, WeakValueDictionary[str, Mailroom]] = WeakKeyDictionary()


def enter(verbs: LockVerbs, mailbox: bytes) -> Mailroom:
    """Return a mailroom of this process for a lock, with this mailbox in it."""
    rooms = _rooms.setdefault(verbs.store, WeakValueDictionary())
    room = rooms.get(verbs.lock_name)
    if room is None or not room.enter(mailbox):
        room = rooms[verbs.lock_name] = Mailroom(verbs)
        room.enter(mailbox)
    return room


def _after_fork() -> None:
    # The waiters are threads of the parent.
    global _rooms
    _rooms = WeakKeyDictionary()


os.register_at_fork(after_in_child=_after_fork)
