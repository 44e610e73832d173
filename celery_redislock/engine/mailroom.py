"""Mailroom: waiters of one process for one lock, who sleep on one connection together.

One of them, the reader, sleeps in Redis on the mailboxes of all; the others sleep here until it has
word for them. A newcomer whose mailbox is not read yet has the reader look up, and read his too. A
reader who is woken, or has slept enough, leaves the reading to another.
"""

from __future__ import annotations

import os
import threading
from time import monotonic
from weakref import WeakKeyDictionary

from .store import Store
from .verbs import LockVerbs

#: Waiters that share a connection: each message that one of them gets costs a list of all their names.
PLACES = 50


class Mailroom:
    """Some waiters of this process for one lock.

    Args:
        verbs: Of the lock.
    """

    def __init__(self, verbs: LockVerbs) -> None:
        self._verbs = verbs
        self._guard = threading.Lock()
        #: Token -> what its waiter sleeps on here.
        self._bells: dict[str, threading.Event] = {}
        self._has_word: set[str] = set()
        self._asleep: set[str] = set()
        self._reader = ""
        #: Whose mailboxes are read at this moment, and whether the reader was told to look up.
        self._read: frozenset[str] = frozenset()
        self._is_told = False

    def enter(self, token: str) -> bool:
        """Have the mailbox of this token read with the others, until `leave`; False: no place is left."""
        with self._guard:
            if len(self._bells) >= PLACES:
                return False
            self._bells[token] = threading.Event()
            return True

    def leave(self, token: str) -> bool:
        """Wait no more; return whether nobody does."""
        with self._guard:
            self._bells.pop(token, None)
            self._has_word.discard(token)
            return not self._bells

    def sleep(self, token: str, seconds: float, lateness_s: float) -> None:
        """Sleep until woken, or for so many seconds.

        Args:
            token: Of a waiter who has entered.
            seconds: How long.
            lateness_s: By how much Redis may be late.

        Raises:
            StoreUnavailable: Redis could not be reached.
        """
        until = monotonic() + seconds
        try:
            while (left := until - monotonic()) > 0 and not self._takes_word(token):
                if self._takes_over(token):
                    self._read_for_all(token, until, lateness_s)
                    return
                self._tell_reader(token)
                self._bells[token].wait(left)
        finally:
            self._wake_up(token)

    def _takes_word(self, token: str) -> bool:
        with self._guard:
            self._bells[token].clear()
            if token not in self._has_word:
                return False
            self._has_word.remove(token)
            return True

    def _takes_over(self, token: str) -> bool:
        with self._guard:
            self._reader = self._reader or token
            if self._reader != token:
                self._asleep.add(token)
            return self._reader == token

    def _read_for_all(self, token: str, until: float, lateness_s: float) -> None:
        while (left := until - monotonic()) > 0:
            self._verbs.store.rest()
            with self._guard:
                self._read, self._is_told = frozenset(self._bells), False
            # His own first: of several with mail Redis takes the first.
            word = self._verbs.sleep([token, *(self._read - {token})], left, lateness_s)
            if word is None or (word.token == token and word.is_wake):
                return
            with self._guard:
                if word.token != token and word.token in self._bells:
                    self._has_word.add(word.token)
                    self._bells[word.token].set()

    def _tell_reader(self, token: str) -> None:
        with self._guard:
            if not self._read or token in self._read or self._is_told:
                return
            self._is_told, reader = True, self._reader
        try:
            self._verbs.ring(reader)
        except BaseException:
            self._is_told = False
            raise

    def _wake_up(self, token: str) -> None:
        with self._guard:
            self._asleep.discard(token)
            if self._reader == token:
                self._reader, self._read = "", frozenset()
            # Also by one who slept here: it may be he who was asked to take over.
            if not self._reader and self._asleep:
                self._bells[next(iter(self._asleep))].set()


_guard = threading.Lock()
_rooms: WeakKeyDictionary[Store, dict[str, list[Mailroom]]] = WeakKeyDictionary()


def enter(verbs: LockVerbs, token: str) -> Mailroom:
    """Return a mailroom of this process for a lock that this token has entered."""
    with _guard:
        rooms = _rooms.setdefault(verbs.store, {}).setdefault(verbs.lock_name, [])
        for room in rooms:
            if room.enter(token):
                return room
        rooms.append(room := Mailroom(verbs))
        room.enter(token)
        return room


def leave(verbs: LockVerbs, room: Mailroom, token: str) -> None:
    """Have a token wait no more in its mailroom; an empty one is given up."""
    with _guard:
        if not room.leave(token):
            return
        rooms_of_locks = _rooms[verbs.store]
        rooms_of_locks[verbs.lock_name].remove(room)
        if not rooms_of_locks[verbs.lock_name]:
            del rooms_of_locks[verbs.lock_name]


def _after_fork() -> None:
    # The waiters are threads of the parent; one of them may have had the guard.
    global _guard, _rooms
    _guard, _rooms = threading.Lock(), WeakKeyDictionary()


os.register_at_fork(after_in_child=_after_fork)
