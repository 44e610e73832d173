"""Mailroom: waiters of one process for one lock, which sleep on one connection together.

One of them, the reader, sleeps in Redis on the mailboxes of all; the others sleep here until the reader
has a message for them. A newcomer whose mailbox is not read yet interrupts the reader, which then reads
the new mailbox too. A reader that is woken, or has slept enough, leaves the reading to another.

A signal's handler may raise in a waiter at any line of this. So no mutex is held here and each change
is one step. A duty is stored under the mailbox of the waiter that has it, and `leave` ends all duties of
a waiter, however often it is called. Should two waiters read at once for a moment, each passes on the
messages that it finds.
"""

from __future__ import annotations

from time import monotonic

from ...errors import StoreUnavailable
from ..protocol.exclusive import INTERRUPT
from ..threads import Bell
from .verbs import LockVerbs

#: Waiters that share a connection: each message that one of them gets costs a list of all their names.
PLACES = 50


class _Place:
    """Where one waiter sleeps."""

    def __init__(self) -> None:
        self.bell = Bell()
        self.has_message = False
        #: Whether the waiter sleeps here, and does not ask or read just now.
        self.sleeps = False

    def wake_up(self) -> None:
        """Wake the waiter: it is to ask for the lock."""
        self.has_message = True
        self.bell.ring()


class Mailroom:
    """Some waiters of this process for one lock; each by its mailbox.

    Args:
        verbs: Of the lock.
    """

    def __init__(self, verbs: LockVerbs) -> None:
        self._verbs = verbs
        self._places: dict[bytes, _Place] = {}
        #: At most one: the mailbox of the reader.
        self._reader: dict[str, bytes] = {}
        #: Which mailboxes are read at this moment, and which newcomer has interrupted the reader.
        self._read: frozenset[bytes] = frozenset()
        self._interrupted_by = b""

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
            mailbox: Of a waiter that has entered.
            seconds: How long.
            lateness_s: By how much Redis may be late.

        Raises:
            StoreUnavailable: Redis could not be reached.
        """
        until, place = monotonic() + seconds, self._places[mailbox]
        try:
            place.sleeps = True
            while (left := until - monotonic()) > 0 and not place.has_message:
                if self._is_reader(mailbox):
                    place.sleeps = False
                    self._read_for_all(mailbox, until, lateness_s)
                    break
                self._interrupt_reader(mailbox)
                place.bell.wait(left)
            place.sleeps = place.has_message = False
        except StoreUnavailable:
            self._forget_interruption(mailbox)
            raise
        except BaseException:
            self._forget_interruption(mailbox)
            self._rouse(mailbox)
            raise
        finally:
            self._hand_on(mailbox)

    def _is_reader(self, mailbox: bytes) -> bool:
        """Whether this waiter reads; it becomes the reader if there is none."""
        return self._reader.setdefault("is", mailbox) == mailbox

    def _read_for_all(self, mailbox: bytes, until: float, lateness_s: float) -> None:
        while (left := until - monotonic()) > 0:
            self._verbs.store.close_idle()
            # In this order: a waiter that enters after the second step finds that nobody has interrupted.
            self._interrupted_by = b""
            self._read = frozenset(self._places)
            # The reader's own first: of several with a message Redis takes the first.
            message = self._verbs.sleep([mailbox, *(self._read - {mailbox})], left, lateness_s)
            if message is None or (message[0] == mailbox and message[1] != INTERRUPT):
                return
            self._pass_on(message[0])

    def _pass_on(self, mailbox: bytes) -> None:
        place = self._places.get(mailbox)
        if place is not None and mailbox != self._reader.get("is"):
            place.wake_up()

    def _interrupt_reader(self, mailbox: bytes) -> None:
        if mailbox in self._read or self._interrupted_by:
            return
        self._interrupted_by = mailbox
        self._verbs.interrupt(self._reader.get("is", mailbox))

    def _forget_interruption(self, mailbox: bytes) -> None:
        if self._interrupted_by == mailbox:
            self._interrupted_by = b""

    def _rouse(self, mailbox: bytes) -> None:
        """Have the others look who reads; or ask: an interrupted reader may have had a message for one."""
        was_reader = self._reader.get("is") == mailbox
        for place in list(self._places.values()):
            if was_reader:
                place.wake_up()
            else:
                place.bell.ring()

    def _hand_on(self, mailbox: bytes) -> None:
        if self._reader.get("is") == mailbox:
            self._interrupted_by, self._read = b"", frozenset()
            self._reader.pop("is", None)
        self._find_reader()

    def _find_reader(self) -> None:
        # Also when a sleeper leaves: it may be the one that was to take over.
        sleeping = () if self._reader else list(self._places.values())
        for place in sleeping:
            if place.sleeps:
                place.bell.ring()
                break
