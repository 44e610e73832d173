"""Wanted: runs of tasks that are wanted once a lock is free, and the index of the locks that have some.

A trigger that meets a busy lock is recorded, and those that met it before stand back. When the lock is
free somebody claims the run and publishes it. The record goes only when the run begins: a claim has a
deadline, after which another may claim it, and each claim a token that travels with the message, so
that of several messages of one run only one counts. Those that stand back are superseded when the run
begins; if it ends before that, the first of them is wanted in its place. What is kept is described in
``pending.lua``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.resources import files
from typing import Any
from urllib.parse import quote, unquote
from uuid import uuid4

from ..engine.protocol import holder_record as holders
from ..engine.protocol.keys import index_of, keys_of
from ..engine.protocol.script import Script
from ..engine.transport.outages import translated
from ..engine.transport.store import Store
from ..holder import Holder

_SCRIPTS = files(__package__) / "scripts"
WANT = Script.load(_SCRIPTS, "want")
CLAIM = Script.load(_SCRIPTS, "claim")
CONFIRM = Script.load(_SCRIPTS, "confirm")
BEGIN = Script.load(_SCRIPTS, "begin")
WITHDRAW = Script.load(_SCRIPTS, "withdraw")
EXPEL = Script.load(_SCRIPTS, "expel")
NOTE = Script.load(_SCRIPTS, "note")
DUE = Script.load(_SCRIPTS, "due")

#: How long a claim lasts, milliseconds: a publication that takes longer may be made twice.
CLAIM_MS = 5000
#: A lock with wanted runs is looked at so often, milliseconds, though its lease goes on.
LOOK_MS = 5000
#: Whether an entry expires, as it stands before its message.
_EXPIRES, _LASTS = b"expires", b"lasts"
#: The kinds of fields with what a claim may give, as ``pending.lua`` tells, and how many words stand before
#: the entry.
_CLAIMABLE = {b"next": 0, b"sent": 3, b"over": 2}
#: Locks that are looked at in one go.
DUE_AT_ONCE = 100


@dataclass(frozen=True)
class WantedRun:
    """A run that is wanted.

    Attributes:
        task: Name of the task.
        id: Its task id.
        message: What is needed to publish it.
        met: When its trigger met the lock, microseconds of the server; 0: not known yet.
        expires: It is not to run any more after some time.
    """

    task: str
    id: str
    message: bytes
    met: int = 0
    expires: bool = False

    def entry(self) -> bytes:
        """Return the run as the scripts keep it."""
        word = _EXPIRES if self.expires else _LASTS
        return b"%d %s %s %s %s" % (self.met, _word(self.task), _word(self.id), word, self.message)

    @classmethod
    def of_entry(cls, entry: bytes) -> WantedRun:
        """Return the run that a script has kept."""
        met, task, task_id, word, message = entry.split(b" ", 4)
        return cls(_text(task), _text(task_id), message, int(met), word == _EXPIRES)


@dataclass(frozen=True)
class Asked:
    """What became of a wish for one more run.

    Attributes:
        is_new: Nothing is wanted yet, and the lock must be noted in the index first: nothing was recorded.
        is_free: The lock is free by now: nothing was recorded.
        is_copy: Another message of the same run counts: nothing was recorded.
        successor: The task id that stands for the caller; empty: the caller is wanted itself.
        behind: The task id behind which the caller stands back: it runs if that goes away; or empty.
        superseded: Those for which the caller stands, or the one before it: their ends are to be stored.
    """

    is_new: bool = False
    is_free: bool = False
    is_copy: bool = False
    successor: str = ""
    behind: str = ""
    superseded: tuple[WantedRun, ...] = ()


@dataclass(frozen=True)
class Claimed:
    """What the caller is to do, and nobody else until the claim ends.

    Attributes:
        token: Of this claim; it travels with the messages.
        look_again_ms: When somebody should look again; None: there is nothing to look for.
        to_publish: Runs whose turn has come.
        superseded: Runs whose ends are to be stored, each with its successor's id.
    """

    token: str
    look_again_ms: int | None
    to_publish: tuple[WantedRun, ...]
    superseded: tuple[tuple[str, WantedRun], ...]


class WantedRuns:
    """The wanted runs of one lock.

    Every method raises `StoreUnavailable` when Redis refuses or cannot be reached in time.
    """

    def __init__(self, store: Store, lock_name: str) -> None:
        self.lock_name = lock_name
        self._store = store
        self._keys = keys_of(lock_name)

    def want(
        self, run: WantedRun, *, keep: str, mark: str, noted: bool, token: str = "", stop_after_ms: int = -1
    ) -> Asked:
        """Want one more run once the busy lock is free.

        Args:
            run: The caller.
            keep: "latest" or "first": which of those that met the lock stands for all.
            mark: 32 characters that only this question has, and its second send.
            noted: The caller has just noted the lock in the index.
            token: Of the claim that published the caller, if it was wanted before.
            stop_after_ms: Ask the holder to stop, and have it ended after so many milliseconds; -1: do not.
        """
        k = self._keys
        answer, *facts = self._run(
            WANT,
            (k.lock, k.wanted, k.once_of(mark)),
            token,
            keep,
            CLAIM_MS,
            int(noted),
            stop_after_ms,
            run.entry(),
        )
        if answer == b"superseded":
            return Asked(successor=_text(facts[0]))
        if answer == b"copy":
            self._forget_spent(run.task, run.id, facts[0])
            return Asked(is_copy=True)
        if answer == b"behind":
            return Asked(behind=_text(facts[0]), superseded=_runs(facts[1:]))
        return Asked(is_new=answer == b"note", is_free=answer == b"free", superseded=_runs(facts))

    def begin(self, task: str, task_id: str, *, keep: str, met: int, token: str = "") -> Asked:
        """Say that a run has got the lock; it stands for those of its task that met the lock before.

        Args:
            task: Name of the task.
            task_id: Of the run.
            keep: As in `want`.
            met: When its trigger met the lock, or got it at once, microseconds of the server.
            token: Of the claim that published it, if it was wanted before.
        """
        arguments = (_word(task), _word(task_id), token, keep, met, CLAIM_MS)
        keys = (self._keys.wanted, self._keys.once_of(uuid4().hex))
        answer, *facts = self._run(BEGIN, keys, *arguments)
        if answer == b"copy":
            self._forget_spent(task, task_id, facts[0])
            return Asked(is_copy=True)
        return Asked(superseded=_runs(facts))

    def tasks(self) -> set[str]:
        """Return the names of the tasks of which something may have to be done."""
        with translated(self.lock_name):
            fields = self._store.call(("HKEYS", self._keys.wanted))
        return {_text(field.split(b" ")[1]) for field in fields if b" " in field}

    def claimable(self, task: str) -> Iterator[WantedRun]:
        """Read what a claim of a task may give, one after the other; nothing is claimed.

        Those in line are left out: each is wanted before it is claimed.
        """
        word = _word(task)
        with translated(self.lock_name):
            for field in self._store.call(("HKEYS", self._keys.wanted)):
                kind, _, rest = field.partition(b" ")
                if kind in _CLAIMABLE and rest.split(b" ")[0] == word:
                    kept = self._store.call(("HGET", self._keys.wanted, field)) or b""
                    yield from _claimable(kind, kept)

    def claim(self, task: str) -> Claimed:
        """Take what is to be done for the wanted runs of a task."""
        token = uuid4().hex
        keys = (self._keys.lock, self._keys.wanted, self._keys.once_of(token))
        again_ms, entries, ends = self._run(CLAIM, keys, _word(task), token, CLAIM_MS)
        return Claimed(
            token,
            None if again_ms < 0 else again_ms,
            _runs(entries),
            tuple((_text(s), WantedRun.of_entry(e)) for s, e in (end.split(b" ", 1) for end in ends)),
        )

    def confirm(self, run: WantedRun, token: str) -> bool:
        """Say that a claimed run was published; return whether another of its task is wanted by now."""
        return bool(self._run(CONFIRM, (self._keys.wanted,), _word(run.task), _word(run.id), token))

    def withdraw(self, task: str, task_id: str, token: str) -> bool:
        """Say that a run has ended before it began; return whether another of its task is wanted.

        Args:
            task: Name of the task.
            task_id: Of the run.
            token: Of the claim that published its message.
        """
        return bool(self._run(WITHDRAW, (self._keys.wanted,), _word(task), _word(task_id), token))

    def successor(self, token: str) -> str:
        """Return the task id for which the holder with this token is asked to stop; empty: it is not."""
        with translated(self.lock_name):
            stop = self._store.call(("HGET", self._keys.wanted, "stop")) or b""
        mark, _, rest = stop.partition(b" ")
        return _text(rest.split(b" ")[0]) if mark == token.encode() else ""

    def ask_to_stop(self) -> bool:
        """Return whether a holder was asked to stop, be it this one or one before it."""
        with translated(self.lock_name):
            return bool(self._store.call(("HGET", self._keys.wanted, "stop")))

    def expel(self, again_ms: int) -> tuple[int | None, Holder | None]:
        """Return when the holder that was asked to stop has had its time, and who it is if it has.

        Args:
            again_ms: Nobody else gets that answer for so many milliseconds: the caller is to end it.

        Returns:
            Milliseconds until then; None: nobody is asked to stop.
        """
        k = self._keys
        left_ms, description = self._run(EXPEL, (k.lock, k.wanted, k.holder), again_ms)
        holder = holders.read(description, 0) if description else None
        return (None if left_ms < 0 else left_ms), holder

    def ended(self, run: WantedRun) -> None:
        """Say that the end of a superseded run was stored."""
        self._delete(b"over", run.task, run.id)

    def _forget_spent(self, task: str, task_id: str, is_spent: int) -> None:
        # Not in the script: sent twice it would find nothing, and let the message count.
        if is_spent:
            self._delete(b"sent", task, task_id)

    def _delete(self, kind: bytes, task: str, task_id: str) -> None:
        with translated(self.lock_name):
            self._store.call(("HDEL", self._keys.wanted, b" ".join((kind, _word(task), _word(task_id)))))

    def _run(self, script: Any, keys: tuple[bytes, ...], *arguments: Any) -> Any:
        with translated(self.lock_name):
            return script.run(self._store, keys, *arguments)


class WantedIndex:
    """The locks with one prefix of which runs may be wanted; a hint, which may name too many.

    A lock is noted before a run of it is wanted. In a cluster the index is on another node.
    """

    def __init__(self, store: Store, prefix: str) -> None:
        self._store = store
        self._key = index_of(prefix)
        self._shown = prefix + "*"

    def note(self, lock_name: str, after_ms: int | None, mark: bytes = b"") -> None:
        """Remember to look at a lock.

        Args:
            lock_name: The lock.
            after_ms: Milliseconds from now; None: never, there is nothing to look for.
            mark: As `due` gave it: do nothing if somebody has noted the lock since; empty: in any case.
        """
        with translated(self._shown):
            NOTE.run(self._store, (self._key,), lock_name, -1 if after_ms is None else after_ms, mark)

    def due(self) -> tuple[int | None, list[tuple[str, bytes]]]:
        """Return the milliseconds until the next lock is due, and those that are, each with its mark."""
        with translated(self._shown):
            next_ms, *pairs = DUE.run(self._store, (self._key,), DUE_AT_ONCE)
        names = [name.decode() for name in pairs[::2]]
        return (None if next_ms < 0 else next_ms), list(zip(names, pairs[1::2], strict=True))


def _runs(entries: Iterable[bytes]) -> tuple[WantedRun, ...]:
    return tuple(WantedRun.of_entry(entry) for entry in entries)


def _claimable(kind: bytes, kept: bytes) -> tuple[WantedRun, ...]:
    words = kept.split(b" ", _CLAIMABLE[kind])
    # What was surely published, or closed, is not claimed any more.
    is_claimable = kept and not (kind == b"sent" and int(words[0]) <= 0)
    return (WantedRun.of_entry(words[-1]),) if is_claimable else ()


def _word(text: str) -> bytes:
    """Return a text without spaces, to stand between others."""
    return quote(text, safe="").encode()


def _text(word: bytes) -> str:
    return unquote(word.decode())


__all__ = ["CLAIM_MS", "LOOK_MS", "Asked", "Claimed", "WantedIndex", "WantedRun", "WantedRuns"]
