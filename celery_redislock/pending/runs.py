"""Runs: the pending runs of a lock, kept until they begin, and the index of the locks that have some.

A trigger that meets a busy lock is recorded, and those that met it before stand back. When the lock is
free, somebody claims the pending run and publishes it. The record stays until the run begins. A claim has
a deadline, after which somebody else may claim the run. Each claim has a token, which travels with the
message: of several messages of one run only one counts. The runs that stand back are superseded when the
pending run begins; if it ends before that, the first of them is pending in its place.
``scripts/entries.lua`` describes what is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import quote, unquote
from uuid import uuid4

from ..engine.companion import Client, Companion, Index, load_scripts, read_holder
from ..holder import Holder

RECORD, CLAIM, CONFIRM, BEGIN, WITHDRAW, EXPEL = load_scripts(
    __package__, "record", "claim", "confirm", "begin", "withdraw", "expel"
)
SCHEDULE, DUE = load_scripts(__package__, "schedule", "due")

#: How long a claim lasts, milliseconds: a publication that takes longer may be made twice.
CLAIM_MS = 5000
#: A lock with pending runs is looked at so often, milliseconds, though its lease goes on.
LOOK_MS = 5000
#: Whether an entry expires, as it stands before its message.
_EXPIRES, _LASTS = b"expires", b"lasts"
#: The kinds of fields with what a claim may give, as ``entries.lua`` tells, and how many words stand before
#: the entry.
_CLAIMABLE = {b"next": 0, b"sent": 3, b"over": 2}
#: Locks that are looked at in one go.
DUE_AT_ONCE = 100


@dataclass(frozen=True)
class PendingRun:
    """A run that begins once the lock is free.

    Attributes:
        task: Name of the task.
        id: Its task id.
        message: What is needed to publish it.
        triggered_us: When its trigger met the lock, microseconds on the server's clock; 0: not known yet.
        expires: After some time it must not run any more.
    """

    task: str
    id: str
    message: bytes
    triggered_us: int = 0
    expires: bool = False

    def entry(self) -> bytes:
        """Return the run as the scripts keep it."""
        word = _EXPIRES if self.expires else _LASTS
        return b"%d %s %s %s %s" % (self.triggered_us, _word(self.task), _word(self.id), word, self.message)

    @classmethod
    def of_entry(cls, entry: bytes) -> PendingRun:
        """Return the run that a script has kept."""
        triggered_us, task, task_id, word, message = entry.split(b" ", 4)
        return cls(_text(task), _text(task_id), message, int(triggered_us), word == _EXPIRES)


@dataclass(frozen=True)
class Recorded:
    """What became of a trigger that was to be recorded.

    Attributes:
        must_be_listed_first: No run is pending yet: nothing was recorded, the index must list the lock first.
        is_free: The lock is free by now: nothing was recorded.
        is_copy: Another message of the same run counts: nothing was recorded.
        successor: The id of the task that runs in place of the caller; empty: there is none.
        behind: The id of the task behind which the caller stands back: if that goes away, the caller runs.
        superseded: Those in whose place the caller, or the task before it, runs: their ends must be stored.
    """

    must_be_listed_first: bool = False
    is_free: bool = False
    is_copy: bool = False
    successor: str = ""
    behind: str = ""
    superseded: tuple[PendingRun, ...] = ()


@dataclass(frozen=True)
class Claimed:
    """What the caller must do, and nobody else does until the claim ends.

    Attributes:
        token: Of this claim; it travels with the messages.
        look_again_ms: When somebody should look again; None: there is nothing to look for.
        to_publish: Runs whose turn has come.
        superseded: Runs whose ends must be stored, each with the id of its successor.
    """

    token: str
    look_again_ms: int | None
    to_publish: tuple[PendingRun, ...]
    superseded: tuple[tuple[str, PendingRun], ...]


class PendingRuns:
    """The pending runs of one lock.

    Every method raises `StoreUnavailable` when Redis refuses or cannot be reached in time.
    """

    def __init__(self, client: Client, lock_name: str) -> None:
        self.lock_name = lock_name
        self._companion = Companion(client, lock_name)
        self._keys = self._companion.keys
        self._run, self._call = self._companion.run, self._companion.call

    def record(
        self,
        run: PendingRun,
        *,
        keep: str,
        question: str,
        is_listed: bool,
        token: str = "",
        stop_after_ms: int = -1,
    ) -> Recorded:
        """Record one more run, which begins once the busy lock is free.

        Args:
            run: The caller.
            keep: "latest" or "first": which of those that met the lock runs in place of all.
            question: 32 characters that are new for each question; its second send has them again.
            is_listed: The caller has just listed the lock in the index.
            token: Of the claim that published the caller, if it was pending before.
            stop_after_ms: Ask the holder to stop, and have it ended after so many milliseconds; -1: do not.
        """
        k = self._keys
        answer, *facts = self._run(
            RECORD,
            (k.lock, k.pending, k.questions_of(question)),
            token,
            keep,
            CLAIM_MS,
            int(is_listed),
            stop_after_ms,
            run.entry(),
        )
        if answer == b"superseded":
            return Recorded(successor=_text(facts[0]))
        if answer == b"copy":
            self._forget_spent(run.task, run.id, facts[0])
            return Recorded(is_copy=True)
        if answer == b"behind":
            return Recorded(behind=_text(facts[0]), superseded=_runs(facts[1:]))
        is_first, is_free = answer == b"list", answer == b"free"
        return Recorded(must_be_listed_first=is_first, is_free=is_free, superseded=_runs(facts))

    def begin(self, task: str, task_id: str, *, keep: str, triggered_us: int, token: str = "") -> Recorded:
        """Say that a run has got the lock: it runs in place of those of its task that met the lock before.

        Args:
            task: Name of the task.
            task_id: Of the run.
            keep: As in `record`.
            triggered_us: When its trigger met the lock, or got it at once; as in `PendingRun`.
            token: Of the claim that published it, if it was pending before.
        """
        arguments = (_word(task), _word(task_id), token, keep, triggered_us, CLAIM_MS)
        keys = (self._keys.pending, self._keys.questions_of(uuid4().hex))
        answer, *facts = self._run(BEGIN, keys, *arguments)
        if answer == b"copy":
            self._forget_spent(task, task_id, facts[0])
            return Recorded(is_copy=True)
        return Recorded(superseded=_runs(facts))

    def tasks(self) -> set[str]:
        """Return the names of the tasks of which something may have to be done."""
        fields = self._call("HKEYS", self._keys.pending)
        return {_text(field.split(b" ")[1]) for field in fields if b" " in field}

    def claimable(self, task: str) -> Iterator[PendingRun]:
        """Read what a claim of a task may give, one after the other; nothing is claimed.

        Those that stand back are left out: each is pending before it is claimed.
        """
        word = _word(task)
        for field in self._call("HKEYS", self._keys.pending):
            kind, _, rest = field.partition(b" ")
            if kind in _CLAIMABLE and rest.split(b" ")[0] == word:
                kept = self._call("HGET", self._keys.pending, field) or b""
                yield from _claimable(kind, kept)

    def claim(self, task: str) -> Claimed:
        """Claim what must be done for the pending runs of a task."""
        token = uuid4().hex
        keys = (self._keys.lock, self._keys.pending, self._keys.questions_of(token))
        again_ms, entries, ends = self._run(CLAIM, keys, _word(task), token, CLAIM_MS, LOOK_MS)
        return Claimed(
            token,
            None if again_ms < 0 else again_ms,
            _runs(entries),
            tuple((_text(s), PendingRun.of_entry(e)) for s, e in (end.split(b" ", 1) for end in ends)),
        )

    def confirm(self, run: PendingRun, token: str) -> bool:
        """Say that a claimed run was published; return whether another of its task is pending by now."""
        return bool(self._run(CONFIRM, (self._keys.pending,), _word(run.task), _word(run.id), token))

    def withdraw(self, task: str, task_id: str, token: str) -> bool:
        """Say that a run has ended before it began; return whether another of its task is pending.

        Args:
            task: Name of the task.
            task_id: Of the run.
            token: Of the claim that published its message.
        """
        return bool(self._run(WITHDRAW, (self._keys.pending,), _word(task), _word(task_id), token))

    def successor(self, token: str) -> str:
        """Return the task id for which the holder with this token is asked to stop; empty: it is not."""
        stop = self._call("HGET", self._keys.pending, "stop") or b""
        holder_token, _, rest = stop.partition(b" ")
        return _text(rest.split(b" ")[0]) if holder_token == token.encode() else ""

    def is_stop_wanted(self) -> bool:
        """Return whether a holder was asked to stop, be it this one or one before it."""
        return bool(self._call("HGET", self._keys.pending, "stop"))

    def expel(self, again_ms: int) -> tuple[int | None, Holder | None]:
        """Return when the holder that was asked to stop has had its time, and who it is if it has.

        Args:
            again_ms: Nobody else gets that answer for so many milliseconds: the caller is to end it.

        Returns:
            Milliseconds until then; None: nobody is asked to stop.
        """
        k = self._keys
        left_ms, description = self._run(EXPEL, (k.lock, k.pending, k.holder), again_ms)
        holder = read_holder(description, 0) if description else None
        return (None if left_ms < 0 else left_ms), holder

    def ended(self, run: PendingRun) -> None:
        """Say that the end of a superseded run was stored."""
        self._delete(b"over", run.task, run.id)

    def _forget_spent(self, task: str, task_id: str, is_spent: int) -> None:
        # Not in the script: sent twice it would find nothing, and let the message count.
        if is_spent:
            self._delete(b"sent", task, task_id)

    def _delete(self, kind: bytes, task: str, task_id: str) -> None:
        self._call("HDEL", self._keys.pending, b" ".join((kind, _word(task), _word(task_id))))


class PendingIndex:
    """When to look at which lock with one prefix, because runs of it may be pending.

    It is a hint, and may list too many locks. A lock is listed before a run of it is recorded. In a cluster
    the index is on another node than the lock.
    """

    def __init__(self, client: Client, prefix: str) -> None:
        self._index = Index(client, prefix)

    def schedule(self, lock_name: str, after_ms: int | None, due_at: bytes = b"") -> None:
        """Schedule the next look at a lock.

        Args:
            lock_name: The lock.
            after_ms: Milliseconds from now; None: never, there is nothing to look for.
            due_at: As `due` gave it: do nothing if somebody has scheduled a look since; empty: in any case.
        """
        after = -1 if after_ms is None else after_ms
        self._index.run(SCHEDULE, (self._index.key,), lock_name, after, due_at)

    def due(self) -> tuple[int | None, list[tuple[str, bytes]]]:
        """Return the milliseconds until the next lock is due, and those that are due, each with the time."""
        next_ms, *pairs = self._index.run(DUE, (self._index.key,), DUE_AT_ONCE)
        names = [name.decode() for name in pairs[::2]]
        return (None if next_ms < 0 else next_ms), list(zip(names, pairs[1::2], strict=True))


def _runs(entries: Iterable[bytes]) -> tuple[PendingRun, ...]:
    return tuple(PendingRun.of_entry(entry) for entry in entries)


def _claimable(kind: bytes, kept: bytes) -> tuple[PendingRun, ...]:
    words = kept.split(b" ", _CLAIMABLE[kind])
    # What was surely published, or closed, is not claimed any more.
    is_claimable = kept and not (kind == b"sent" and int(words[0]) <= 0)
    return (PendingRun.of_entry(words[-1]),) if is_claimable else ()


def _word(text: str) -> bytes:
    """Return a text without spaces, to stand between others."""
    return quote(text, safe="").encode()


def _text(word: bytes) -> str:
    return unquote(word.decode())


__all__ = ["CLAIM_MS", "LOOK_MS", "Claimed", "PendingIndex", "PendingRun", "PendingRuns", "Recorded"]
