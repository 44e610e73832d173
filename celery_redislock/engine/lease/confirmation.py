"""Confirmation: what becomes of a release whose reply is not waited for.

A release is sent, and its holder goes on. Whoever uses the connection next reads the reply first. If it says
no more than that the lock is free, the next release confirms that one, which frees the memory of its run. A
thread looks at each release when it is `DUE_S` old: it reads a reply that nobody has read, asks again if
there is none or if Redis has refused, and tells the holder. So these are noticed within half a second and the
time of a call, also if no next task comes: a lost lock, pending runs, a script that the server does not know,
a server that is away.

Who asks for the same lock in this process has its last release settled first: the question may go out on
another connection, and must not overtake the release.

A signal's handler may raise in a user's thread at any line, see ``threads.py``. So a release may be settled
more than once, by any thread, and each step can be repeated: Redis answers a second release as it answered
the first.
"""

from __future__ import annotations

import atexit
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from ...errors import StoreUnavailable
from ..protocol.exclusive import DONE, RELEASED, Refused, Released
from ..protocol.script import Question
from ..threads import begin
from ..transport.store import CALL_S, LEAST_ATTEMPT_S
from ..transport.unread import UnreadReply
from .verbs import LockVerbs

logger = logging.getLogger(__name__)

#: A reply is looked for when it was left unread for so long, seconds.
DUE_S = 0.25
#: The thread stays for so long after the last release, seconds: tasks come one after the other.
IDLE_S = 5.0

#: So many of the latest releases are looked at with each: most replies are read by the next question.
LATEST = 8


class ReleaseOutcome(NamedTuple):
    """What became of a release.

    Attributes:
        released: The lock was the holder's, and is free or will be.
        has_pending: Runs are, or may be, pending.
        error: Why nothing is known: the lock is free when its lease ends.
        is_forced: The lock was taken from the holder by force.
    """

    released: bool
    has_pending: bool = False
    error: Exception | None = None
    is_forced: bool = False


def _outcome_of(answer: Released | Refused) -> ReleaseOutcome:
    """Return what an answer to a release means for the holder."""
    if isinstance(answer, Refused):
        return ReleaseOutcome(released=False, is_forced=answer.is_forced)
    return ReleaseOutcome(released=True, has_pending=answer.has_pending)


#: What Redis answers to a release -> what that means for the holder.
_OUTCOMES = {reply: _outcome_of(answer) for reply, answer in RELEASED.items()}


class Unconfirmed:
    """A release that was sent.

    Args:
        verbs: Of the lock.
        question: That was sent.
        unread: The reply to it.
        sent_at: When, on the monotonic clock.
        tell: Takes the outcome, once.

    Attributes:
        lock: Which lock it is of: its store and its name.
    """

    __slots__ = ("_outcome", "_question", "_tell", "_untold", "_verbs", "lock", "sent_at", "unread")

    def __init__(
        self,
        verbs: LockVerbs,
        question: Question,
        unread: UnreadReply,
        sent_at: float,
        tell: Callable[[ReleaseOutcome], object],
    ) -> None:
        self._verbs, self._question, self.unread, self._tell = verbs, question, unread, tell
        self.lock: tuple[object, str] = verbs.store, verbs.lock_name
        self._outcome: ReleaseOutcome | None = None
        #: Emptied by the one that tells.
        self._untold = [True]
        self.sent_at = sent_at

    def settle(self, deadline: float) -> None:
        """Find out what became of it: from the reply, else by asking again.

        Args:
            deadline: Until when, on the monotonic clock; there is always time for one attempt.
        """
        if self._outcome is None:
            self._outcome = self._read(deadline) or self._ask_again(deadline)

    def tell(self) -> None:
        """Tell the holder of the outcome, unless somebody has."""
        outcome = self._outcome
        try:
            self._untold.pop()
        except IndexError:  # somebody has
            return
        if outcome is not None:
            self._tell(outcome)

    def _read(self, deadline: float) -> ReleaseOutcome | None:
        unread = self.unread
        if not unread.is_here:
            self._verbs.store.read_unread(unread, deadline)
        if isinstance(unread.reply, int):
            return _OUTCOMES[unread.reply]
        # Until it is known to run again, nobody goes on without the reply.
        self._verbs.store.has_run.discard(self._question[0].sha)
        return None

    def _ask_again(self, deadline: float) -> ReleaseOutcome:
        try:
            within = max(deadline - time.monotonic(), LEAST_ATTEMPT_S)
            return _outcome_of(self._verbs.ask_release(self._question, within))
        except StoreUnavailable as error:
            return ReleaseOutcome(released=False, error=error)


class Confirmations:
    """The unconfirmed releases of this process, and the thread that has them confirmed."""

    def __init__(self) -> None:
        self.begin_afresh()

    def begin_afresh(self) -> None:
        """Know of none. So begins the child of a fork: they are the parent's."""
        self._waiting: deque[Unconfirmed] = deque()
        #: The last one of each lock.
        self.last: dict[tuple[object, str], Unconfirmed] = {}
        #: Held by the thread for as long as it serves.
        self._runs = threading.Lock()
        #: Whether one has been started that has not begun.
        self._is_coming = False

    def send(self, verbs: LockVerbs, question: Question, tell: Callable[[ReleaseOutcome], object]) -> bool:
        """Send a release, and have the holder told what became of it; see `Unconfirmed`.

        Returns:
            False: it could not be sent without waiting. Ask in the usual way; it may have been sent.
        """
        sent_at = time.monotonic()
        unread = verbs.post(question, sent_at)
        if unread is None:
            return False
        unconfirmed = Unconfirmed(verbs, question, unread, sent_at, tell)
        self._confirm_what_is_done()
        self.last[unconfirmed.lock] = unconfirmed
        self._waiting.append(unconfirmed)
        if not self._is_served():
            self.confirm()
        return True

    def settle(self, verbs: LockVerbs) -> None:
        """Settle the last release of a lock, before the lock is asked for."""
        unconfirmed = self.last.get((verbs.store, verbs.lock_name))
        if unconfirmed is not None:
            unconfirmed.settle(time.monotonic() + CALL_S)

    def confirm(self, sent_before: float = math.inf) -> None:
        """Settle releases and tell their holders; never raises an error of theirs.

        It takes no longer than one call, and one attempt for each release.

        Args:
            sent_before: Only those that were sent until then, on the monotonic clock.
        """
        deadline = time.monotonic() + CALL_S
        while True:
            try:
                first = self._waiting[0]
            except IndexError:
                return
            if first.sent_at > sent_before:
                return
            self._confirm(first, deadline)

    def _confirm_what_is_done(self) -> None:
        """Confirm those whose replies say that all is well: each keeps the memory of its run."""
        for unconfirmed in list(self._waiting)[-LATEST:]:
            if unconfirmed.unread.reply == DONE:
                self._confirm(unconfirmed, 0.0)

    def _confirm(self, unconfirmed: Unconfirmed, deadline: float) -> None:
        try:
            unconfirmed.settle(deadline)
            unconfirmed.tell()
        except Exception:
            logger.exception("the release of lock %r could not be confirmed", unconfirmed.lock[1])
        self._forget(unconfirmed)

    def _forget(self, unconfirmed: Unconfirmed) -> None:
        # Only now: interrupted before this, it is confirmed again.
        try:  # noqa: SIM105 - each run comes here, and `suppress` costs it three calls
            self._waiting.remove(unconfirmed)
        except (ValueError, IndexError):  # another thread has
            pass
        last = self.last.pop(unconfirmed.lock, None)
        if last is not None and last is not unconfirmed:
            self.last.setdefault(last.lock, last)

    def _is_served(self) -> bool:
        """Whether there is a thread, or one that comes; else one is started."""
        if self._runs.locked() or self._is_coming:
            return True
        try:
            # First: the thread may have begun, and taken it back, before `begin` returns.
            self._is_coming = True
            if begin(self._run, "redislock-confirmation"):
                return True
        except BaseException:
            self._is_coming = False
            raise
        self._is_coming = False
        return self._runs.locked()

    def _run(self) -> None:
        is_mine, self._is_coming = self._runs.acquire(blocking=False), False
        while is_mine:
            try:
                self._serve()
            finally:
                self._runs.release()
            # One may have come just before that.
            is_mine = bool(self._waiting) and self._runs.acquire(blocking=False)

    def _serve(self) -> None:
        """Confirm what is due, until there was nothing for a while."""
        idle_until = time.monotonic() + IDLE_S
        while time.monotonic() < idle_until:
            time.sleep(DUE_S)
            if self._waiting:
                idle_until = time.monotonic() + IDLE_S
            self.confirm(time.monotonic() - DUE_S)


#: Of this process.
confirmations = Confirmations()

#: The thread does not outlive the interpreter. A pool process of prefork ends without this, and has a signal.
atexit.register(confirmations.confirm)
