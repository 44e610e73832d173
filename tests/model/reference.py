"""Reference: what one lock promises, without Redis: a holder, a queue, and what is over (pure)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

#: Who stands outside the queue: another program, which knows only SET NX and DEL.
FOREIGN = "foreign"
#: Appended to the token of a holder that gave the lock back before its `min_hold` was over.
KEPT = ":kept"


@dataclass
class Reference:
    """One lock.

    Attributes:
        holder: What the lock's key holds; None when the lock is free.
        is_claim: The lock was handed to a waiter that has not asked for it yet.
        queue: Who waits, first come first.
        dead: Those in the queue that have not asked for too long.
        released: Whose release is remembered.
        ousted: From whom the lock was taken by force, and who may be told so.
        over: Up to which number each token's questions are over: what comes late is not granted.
        asked: The number of the holder's last question.
        number: The fencing token of the holder.
        largest: The largest fencing token ever; also a loss of all data does not change it.
    """

    holder: str | None = None
    is_claim: bool = False
    queue: list[str] = field(default_factory=list)
    dead: set[str] = field(default_factory=set)
    released: set[str] = field(default_factory=set)
    ousted: set[str] = field(default_factory=set)
    over: dict[str, float] = field(default_factory=dict)
    asked: float = 0.0
    number: int = 0
    largest: int = 0

    def ask(self, token: str, number: float, *, waits: bool) -> bool | None:
        """Ask for the lock; True when it is granted, now or since an earlier time; None: that is over."""
        is_over = self.over.get(token, -1.0) >= number
        if is_over and (self.holder != token or self.is_claim):
            return None
        if self.holder is None:
            self._hand_over()
        if self.holder in (None, token):
            is_new = self.holder is None or self.is_claim
            self.holder, self.is_claim = token, is_new
            self.asked = number if is_new else max(number, self.asked)
            return True
        if not waits and token in self.queue:
            self.over[token] = number
            self.ousted.discard(token)
        if not waits:
            self._forget(token)
        elif token not in self.queue:
            self.queue.append(token)
        self.dead.discard(token)
        return False

    def is_new(self, token: str) -> bool:
        """Whether a grant to this token begins now."""
        return self.holder == token and self.is_claim

    def granted(self, number: int) -> None:
        """Take note of the number of a grant that begins now."""
        self.number, self.is_claim = number, False
        self.largest = max(self.largest, number)

    def release(self, token: str, *, keep: bool) -> bool:
        """Give the lock back; True when it was this token's, now or at an earlier send."""
        self.over[token] = math.inf
        if self.holder != token:
            self._forget(token)
            return token in self.released
        self.released.add(token)
        self.ousted.discard(token)
        if keep:
            self.holder = token + KEPT
        else:
            self.free()
            self._hand_over()
        return True

    def renew(self, token: str) -> bool:
        """Prolong; True when the lock is this token's."""
        return self.holder == token

    def leave(self, token: str, number: float) -> None:
        """Give up waiting, and pass on what came meanwhile, unless it came of a later question."""
        self._forget(token)
        if self.over.get(token, -1.0) > number:
            return
        self.over[token] = number
        self.ousted.discard(token)
        if self.holder == token and (self.is_claim or self.asked <= number):
            self.free()
            self._hand_over()

    def force_release(self) -> bool:
        """Take the lock from whoever has it."""
        had = self.holder is not None
        if had:
            if self.holder and self.holder != FOREIGN and not self.is_claim and KEPT not in self.holder:
                self.ousted.add(self.holder)
                self.over[self.holder] = self.asked + 0.5
            self.free()
            self._hand_over()
        return had

    def free(self) -> None:
        """The lock's key is gone: it ran out, or somebody deleted it. Nobody is told."""
        self.holder, self.is_claim = None, False

    def set_by_a_stranger(self) -> bool:
        """SET NX by another program; True when the lock was free."""
        is_free = self.holder is None
        if is_free:
            self.holder = FOREIGN
        return is_free

    def lose_all(self) -> None:
        """The server forgets everything."""
        self.free()
        self.queue.clear()
        self.dead.clear()
        self.released.clear()
        self.ousted.clear()
        self.over.clear()

    def _hand_over(self) -> None:
        while self.queue:
            head = self.queue.pop(0)
            if head not in self.dead:
                self.holder, self.is_claim = head, True
                return
            self.dead.discard(head)

    def _forget(self, token: str) -> None:
        if token in self.queue:
            self.queue.remove(token)
        self.dead.discard(token)
