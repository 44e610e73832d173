"""Limits: what an operator sets for a lock while it is in use, in place of what its askers say."""

from __future__ import annotations

import os
from datetime import timedelta

from .companion import Companion
from .inspection import server_time
from .protocol import limit as words
from .protocol.limit import NONE, PAUSE, Limit


class Limits(Companion):
    """The limit of one lock. Every method may be called again after an error."""

    def get(self) -> Limit:
        """Return what is set."""
        return words.read(self._name, self.call(*words.kept(self.keys)))

    def set(self, number: int, for_ms: int | None, by: str, note: str) -> Limit:
        """Let at most so many share the lock. Who holds it keeps it; as many as fit now come in.

        Args:
            number: At least 1.
            for_ms: How long that lasts, milliseconds; None: until it is changed.
            by: Who has set it.
            note: Why.
        """
        return self._change(str(number), for_ms, by, note)

    def pause(self, for_ms: int | None, by: str, note: str) -> Limit:
        """Let nobody take the lock. Who holds it keeps it."""
        return self._change(PAUSE, for_ms, by, note)

    def reset(self, by: str) -> Limit:
        """Let the limit of each asker count again; as many as fit now come in."""
        return self._change(NONE, None, by, "")

    def _change(self, number: str, for_ms: int | None, by: str, note: str) -> Limit:
        since = server_time(self.store, self._name)
        ends = None if for_ms is None else since + timedelta(milliseconds=for_ms)
        script, keys, arguments = words.change(self.keys, os.urandom(16).hex(), number, since, ends, by, note)
        self.run(script, keys, *arguments)
        return Limit(self._name) if number == NONE else words.read(self._name, words.record_of(arguments))
