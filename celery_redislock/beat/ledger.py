"""Ledger: when each entry of a schedule was sent last, kept beside the lock of who may send."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from ..engine.companion import CALL_S, Client, Companion, load_scripts, now

CLAIM, RECALL = load_scripts(__package__, "claim", "recall")

#: An entry that was not sent for so long is forgotten, milliseconds: a yearly one, and a month to spare.
KEPT_MS = 400 * 24 * 3600 * 1000


@dataclass(frozen=True)
class Sent:
    """When an entry was sent last, on the server's clock, milliseconds since 1970.

    Attributes:
        due_ms: The due time that was claimed; 0: it was not sent yet, only seen.
        at_ms: When it was claimed, or seen first.
    """

    due_ms: int
    at_ms: int


class Verdict(IntEnum):
    """What came of a claim."""

    CLAIMED = 1
    TAKEN = 0
    NOT_LEADING = -1
    NOT_YET = -2


@dataclass(frozen=True)
class Answer:
    """What Redis said to a claim.

    Attributes:
        now_ms: The server's clock.
        sent: The entry's record after it; None where there is none.
    """

    verdict: Verdict
    now_ms: int
    sent: Sent | None


class Ledger:
    """The records of one group of schedulers.

    Every method raises `StoreUnavailable` when Redis refuses or cannot be reached in time.

    Args:
        client: As for a `RedisLock`.
        lock_name: The lock that the leader of the group holds.
    """

    def __init__(self, client: Client, lock_name: str) -> None:
        self._companion = Companion(client, lock_name)
        self._keys = self._companion.keys

    def read(self) -> tuple[dict[str, Sent], int]:
        """Return the record of each entry, and the server's clock; forget those older than `KEPT_MS`."""
        now_ms, reply = self._companion.run(RECALL, (self._keys.ledger,), KEPT_MS)
        pairs = zip(reply[::2], reply[1::2], strict=True)
        return {entry.decode(): _read(record) for entry, record in pairs}, now_ms

    def note_seen(self, entry: str, at_ms: int) -> None:
        """Remember since when an entry waits to be sent for the first time, unless that is known."""
        until = now() + CALL_S
        self._companion.call("HSETNX", self._keys.ledger, entry, f"0 {at_ms} -")
        self._companion.call("PEXPIRE", self._keys.ledger, KEPT_MS, within=until - now())

    def claim(self, token: str, entry: str, due_ms: int, mark: str) -> Answer:
        """Claim a due time of an entry, for the leader alone and once.

        Args:
            token: Of the leader.
            entry: Its name.
            due_ms: Milliseconds since 1970.
            mark: Made for this claim; asked again with it, the answer is the same.
        """
        keys = (self._keys.lock, self._keys.ledger)
        verdict, now_ms, record = self._companion.run(CLAIM, keys, token, entry, due_ms, mark, KEPT_MS)
        return Answer(Verdict(verdict), now_ms, _read(record) if record else None)


def _read(record: bytes) -> Sent:
    due_ms, at_ms, _ = record.split(b" ")
    return Sent(int(due_ms), int(at_ms))
