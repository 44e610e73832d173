"""Verbs: sends the questions about one lock, a round trip each, and translates what goes wrong."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import redis

from ...errors import StoreUnavailable
from ..protocol import exclusive, shared
from ..protocol.exclusive import FORCE_RELEASE, Busy, Granted, Refused, Released
from ..protocol.keys import GROUP_MARK, PAUSED, keys_of
from ..protocol.script import Question
from ..transport.redis_errors import REDIS_ERRORS, translated, unavailable
from ..transport.replication import NotReplicated
from ..transport.store import CALL_S, LEAST_ATTEMPT_S, Store
from ..transport.unread import UnreadReply
from .lease import now


class LockVerbs:
    """One lock in one Redis.

    Every method raises `StoreUnavailable` when Redis refuses or cannot be reached in time, and may be
    called again after that: the scripts answer a second send as they answered the first.
    """

    #: What is asked, by the names of ``exclusive.py``.
    words: Any = exclusive

    def __init__(self, store: Store, lock_name: str, min_replicas: int = 0) -> None:
        self.store = store
        self.min_replicas = min_replicas
        self.lock_name = lock_name
        self.keys = keys_of(lock_name)

    def acquire(
        self,
        token: str,
        ttl_ms: int,
        patience_ms: int,
        metadata: str,
        within: float = CALL_S,
        ticket: str = "",
        mark: str = "",
    ) -> Granted | Busy:
        """Ask for the lock.

        Args:
            token, ttl_ms, patience_ms, metadata, ticket, mark: As in `exclusive.acquire`.
            within: Seconds that Redis has for the answer.
        """
        began_at = now()
        question = self.words.acquire(self.keys, token, ttl_ms, patience_ms, metadata, began_at, ticket, mark)
        answer = self._acquire(question, began_at, within)
        late_s = now() - began_at
        if isinstance(answer, Granted) and late_s <= ttl_ms / 2000:
            return answer
        left = min(within, CALL_S) - late_s
        if isinstance(answer, Granted):
            if left > 0:
                # Half of the lease is over, or all of it: the same question again begins it anew.
                with suppress(StoreUnavailable):
                    return self._acquire_again(question, left) or answer
            return answer
        if answer is None:
            answer = self._acquire_again(question, max(left, LEAST_ATTEMPT_S))
        elif patience_ms == 0 and late_s > LEAST_ATTEMPT_S:
            # It may have been sent twice: the first copy is not to take the lock when it arrives.
            with suppress(StoreUnavailable):
                self.leave(token, within=max(left, LEAST_ATTEMPT_S), mark=mark)
        if answer is None:
            raise StoreUnavailable(
                self.lock_name,
                "its token was already released, or the lease is shorter than the round trip to Redis",
            )
        return answer

    def _acquire_again(self, question: Question, within: float) -> Granted | Busy | None:
        asked_at = now()
        return self._acquire(self.words.acquire_again(question, asked_at), asked_at, within)

    def _acquire(self, question: Question, sent_at: float, within: float) -> Granted | Busy | None:
        """Ask once; None: what this question was granted is gone already."""
        script, keys, arguments = question
        undo = partial(self.words.undo_of, question)
        try:
            reply = self.store.run(script, keys, arguments, within, self.min_replicas, undo)
        except REDIS_ERRORS as error:
            if isinstance(error, NotReplicated):
                with suppress(StoreUnavailable):
                    self._run(undo(), within=1.0)
            raise unavailable(self.lock_name, script.name, error) from error
        answer: Granted | Busy | None = self.words.acquired(reply, sent_at)
        return answer

    def sleep(self, mailboxes: Sequence[bytes], seconds: float, lateness_s: float) -> list[bytes] | None:
        """Sleep until there is a message in one of the mailboxes, or for so many seconds.

        Args:
            mailboxes: Of all that have a message the first is taken.
            seconds: How long.
            lateness_s: By how much Redis may be late.

        Returns:
            The mailbox, and the message: `INTERRUPT`, or else a wake-up. None: there was none.
        """
        # The answer has its way, too.
        command = exclusive.sleep(mailboxes, seconds - self.store.round_trip_s)
        try:
            message: list[bytes] = self.store.ask(command, seconds + lateness_s)
        except redis.TimeoutError:
            return None
        except REDIS_ERRORS as error:
            raise unavailable(self.lock_name, "wait", error, "waiting for a lock needs BLPOP: ") from error
        return message

    def interrupt(self, mailbox: bytes) -> None:
        """Leave a message in a mailbox that is no wake-up: there are others to sleep for."""
        self._run(exclusive.interrupt(mailbox))

    def leave(self, token: str, within: float, mark: str = "") -> None:
        """Give up the place in line; a turn that came already goes on to the next."""
        self._run(self.words.leave(self.keys, token, now(), mark), within)

    def release(
        self,
        token: str,
        min_hold_ms: int,
        done: str,
        remembered_ms: int = exclusive.REMEMBERED_MS,
        ticket: str = "",
        within: float = CALL_S,
        *,
        is_long: bool = True,
    ) -> Released | Refused:
        """Give the lock back.

        Args:
            token, min_hold_ms, done, remembered_ms, ticket, is_long: As in `exclusive.release`.
            within: As in `acquire`.
        """
        question = self.words.release(
            self.keys, token, min_hold_ms, done, remembered_ms, ticket, is_long=is_long
        )
        return self.ask_release(question, within)

    def ask_release(self, question: Question, within: float) -> Released | Refused:
        """Ask what `exclusive.release` made, as `release` does."""
        return exclusive.released(self._run(question, within))

    def post(self, question: Question, at: float) -> UnreadReply | None:
        """Send a question whose reply is not waited for; see `Store.post`.

        Not the first of its kind: it might be refused by a server that does not know the script (NOSCRIPT).

        Args:
            question: It may be sent twice.
            at: What the monotonic clock says.
        """
        script, keys, arguments = question
        if script.sha not in self.store.has_run:
            return None
        return self.store.post(script.command(keys, arguments), at)

    def renew(self, token: str, ttl_ms: int) -> Refused | None:
        """Start the lease anew; None when that is done."""
        question = self.words.renew(self.keys, token, ttl_ms)
        return exclusive.renewed(self._run(question, acks=self.min_replicas))

    def force_release(self) -> bool:
        """Take the lock from whoever has it; False when nobody has."""
        until = now() + CALL_S
        with translated(self.lock_name, FORCE_RELEASE.name):
            owner = self.store.call(exclusive.owner(self.keys))
        if owner in (None, PAUSED):
            return False
        if owner == GROUP_MARK:
            with translated(self.lock_name, FORCE_RELEASE.name):
                last = self.store.call(shared.record(self.keys))
            question = shared.force_release(self.keys, shared.last_fencing_token(last))
            return bool(self._run(question, until - now()))
        self._run(exclusive.force_release(self.keys, owner), until - now())
        return True

    def exists(self) -> bool:
        """Whether anyone holds the lock."""
        with translated(self.lock_name, "exists"):
            return bool(self.store.call(exclusive.exists(self.keys)))

    def is_held_with(self, token: str) -> bool:
        """Whether the lock is held with this token."""
        return self.owner() == token.encode()

    def owner(self) -> bytes | None:
        """Return what the lock's key holds: a token, the mark of a group, or what another program wrote."""
        with translated(self.lock_name, "owner"):
            owner: bytes | None = self.store.call(exclusive.owner(self.keys))
        return owner

    def _run(self, question: Question, within: float = CALL_S, acks: int = 0) -> Any:
        try:
            return self.store.run(*question, within, acks)
        except REDIS_ERRORS as error:
            raise unavailable(self.lock_name, question[0].name, error) from error
