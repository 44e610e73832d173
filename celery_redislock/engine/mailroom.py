"""Mailroom: waiters of one process for one lock, who sleep on one connection together.

One of them, the reader, sleeps in Redis on the mailboxes of all; the others sleep here until it has
word for them. A newcomer whose mailbox is not read yet has the reader look up, and read his too. A
reader who is woken, or has slept enough, leaves the reading to another.
"""

from __future__ import annotations

import os
import threading
from time import monotonic
from weakref import WeakKeyDictionary, WeakValueDictionary

from .store import Store
from .verbs import LOOK_UP, LockVerbs

#: Waiters that share a connection: each message that one of them gets costs a list of all their names.
PLACES = 50


class Mailroom:
    """Some waiters of this process for one lock; each by his mailbox.

    Args:
        verbs: Of the lock.
    """

    def __init__(self, verbs: LockVerbs) -> None:
        self._verbs = verbs
        self._guard = threading.Lock()
        self._mailboxes: set[bytes] = set()
        #: What those who sleep here wait for; and who has word that he has not taken yet.
        self._bells: dict[bytes, threading.Event] = {}
        self._has_word: set[bytes] = set()
        self._reader = b""
        #: Which mailboxes are read at this moment, and whether the reader was told to look up.
        self._read: frozenset[bytes] = frozenset()
        self._is_told = False

    def enter(self, mailbox: bytes) -> bool:
        """Have a mailbox read with the others, until `leave`; False: no place is left."""
        with self._guard:
            if len(self._mailboxes) >= PLACES:
                return False
            self._mailboxes.add(mailbox)
            return True

    def leave(self, mailbox: bytes) -> None:
        """Wait no more."""
        with self._guard:
            self._mailboxes.discard(mailbox)
            self._has_word.discard(mailbox)

    def sleep(self, mailbox: bytes, seconds: float, lateness_s: float) -> None:
        """Sleep until woken, or for so many seconds.

        Args:
            mailbox: Of a waiter who has entered.
            seconds: How long.
            lateness_s: By how much Redis may be late.

        Raises:
            StoreUnavailable: Redis could not be reached.
        """
        until = monotonic() + seconds
        try:
            while (left := until - monotonic()) > 0 and not self._takes_word(mailbox):
                bell = self._bell_unless_reader(mailbox)
                if bell is None:
                    self._read_for_all(mailbox, until, lateness_s)
                    return
                self._tell_reader(mailbox)
                bell.wait(left)
        finally:
            self._wake_up(mailbox)

    def _takes_word(self, mailbox: bytes) -> bool:
        with self._guard:
            if mailbox not in self._has_word:
                return False
            self._has_word.remove(mailbox)
            return True

    def _bell_unless_reader(self, mailbox: bytes) -> threading.Event | None:
        with self._guard:
            self._reader = self._reader or mailbox
            if self._reader == mailbox:
                return None
            bell = self._bells[mailbox] = threading.Event()
            if mailbox in self._has_word:
                bell.set()
            return bell

    def _read_for_all(self, mailbox: bytes, until: float, lateness_s: float) -> None:
        while (left := until - monotonic()) > 0:
            self._verbs.store.rest()
            with self._guard:
                self._read, self._is_told = frozenset(self._mailboxes), False
            # His own first: of several with word Redis takes the first.
            word = self._verbs.sleep([mailbox, *(self._read - {mailbox})], left, lateness_s)
            if word is None or (word[0] == mailbox and word[1] != LOOK_UP):
                return
            self._pass_on(word[0])

    def _pass_on(self, mailbox: bytes) -> None:
        with self._guard:
            if mailbox != self._reader and mailbox in self._mailboxes:
                self._has_word.add(mailbox)
                if mailbox in self._bells:
                    self._bells[mailbox].set()

    def _tell_reader(self, mailbox: bytes) -> None:
        with self._guard:
            if not self._read or mailbox in self._read or self._is_told:
                return
            self._is_told, reader = True, self._reader
        try:
            self._verbs.ring(reader)
        except BaseException:
            self._is_told = False
            raise

    def _wake_up(self, mailbox: bytes) -> None:
        with self._guard:
            if self._reader == mailbox:
                self._reader, self._read = b"", frozenset()
            if self._bells:
                self._bells.pop(mailbox, None)
                self._find_reader()

    def _find_reader(self) -> None:
        # Also when one goes who slept here: it may be he who was asked to take over.
        if not self._reader and self._bells:
            next(iter(self._bells.values())).set()


_guard = threading.Lock()
#: Those that still have places, while somebody is in them.
_rooms: WeakKeyDictionary[Store, WeakValueDictionary[str, Mailroom]] = WeakKeyDictionary()


def enter(verbs: LockVerbs, mailbox: bytes) -> Mailroom:
    """Return a mailroom of this process for a lock, with this mailbox in it."""
    with _guard:
        rooms = _rooms.setdefault(verbs.store, WeakValueDictionary())
        room = rooms.get(verbs.lock_name)
        if room is None or not room.enter(mailbox):
            room = rooms[verbs.lock_name] = Mailroom(verbs)
            room.enter(mailbox)
        return room


def _after_fork() -> None:
    # The waiters are threads of the parent; one of them may have had the guard.
    global _guard, _rooms
    _guard, _rooms = threading.Lock(), WeakKeyDictionary()


os.register_at_fork(after_in_child=_after_fork)
