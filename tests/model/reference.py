"""Reference: what one lock promises, without Redis: a holder, a queue, and who has released (pure)."""

from __future__ import annotations

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
        number: The fencing token of the holder.
        largest: The largest fencing token ever; also a loss of all data does not change it.
    """

    holder: str | None = None
    is_claim: bool = False
    queue: list[str] = field(default_factory=list)
    dead: set[str] = field(default_factory=set)
    released: set[str] = field(default_factory=set)
    number: int = 0
    largest: int = 0

    def ask(self, token: str, *, waits: bool) -> bool:
        """Ask for the lock; True when it is granted, now or since an earlier time."""
        if self.holder is None:
            self._hand_over()
        if self.holder in (None, token):
            self.holder, self.is_claim = token, self.holder is None or self.is_claim
            return True
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
        if self.holder != token:
            return token in self.released
        self.released.add(token)
        if keep:
            self.holder = token + KEPT
        else:
            self.free()
            self._hand_over()
        return True

    def renew(self, token: str) -> bool:
        """Prolong; True when the lock is this token's."""
        return self.holder == token

    def leave(self, token: str) -> None:
        """Give up waiting, and pass on what may have come meanwhile."""
        self._forget(token)
        if self.holder == token:
            self.free()
            self._hand_over()

    def force_release(self) -> bool:
        """Take the lock from whoever has it."""
        had = self.holder is not None
        if had:
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
