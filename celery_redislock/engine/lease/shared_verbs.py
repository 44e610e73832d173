"""SharedVerbs: sends the questions about a lock that several hold at once."""

from __future__ import annotations

from ..protocol import shared
from ..protocol.shared import Words
from ..transport.redis_errors import translated
from ..transport.store import Store
from .verbs import LockVerbs


class SharedVerbs(LockVerbs):
    """One lock in one Redis, as those see it who share it.

    Args:
        store, lock_name, min_replicas: As for `LockVerbs`.
        words: What is asked.
    """

    def __init__(self, store: Store, lock_name: str, min_replicas: int, words: Words) -> None:
        super().__init__(store, lock_name, min_replicas)
        self.words = words

    def is_held_with(self, token: str) -> bool:
        """Whether a place is held with this token."""
        return bool(self._run(shared.owned(self.keys, token)))


def was_done(verbs: LockVerbs, work: str) -> bool:
    """Whether one of those who share the lock said lately that this work was done."""
    with translated(verbs.lock_name, "done"):
        return bool(verbs.store.call(("EXISTS", shared.done_key(verbs.keys, work))))
