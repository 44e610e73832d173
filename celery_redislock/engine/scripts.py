"""Scripts: reads the Lua files once and sends them by their digest."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from importlib.resources import files
from time import monotonic
from typing import Any

from redis.exceptions import NoPermissionError, NoScriptError, ResponseError

from .store import CALL_S, Store
from .wire import Argument, Command, Undo

_FOLDER = files(__package__) / "scripts"


def _read(name: str) -> str:
    return (_FOLDER / f"{name}.lua").read_text(encoding="utf-8")


#: Functions that several scripts share: a line that names them stands in their place.
_SHARED = {f"-- {name}.lua\n": _read(name) for name in ("turn", "pending")}


#: A command that the user of a script may not run: Redis before 7.2 tells its line alone.
_FORBIDDEN = "can't run this command"
_LINE = re.compile(r"user_script: ?(\d+)")
_COMMAND = re.compile(r"redis\.call\('(\w+)'")


@dataclass(frozen=True)
class Script:
    """One verb, run on the server as one step. Every script may be sent twice."""

    source: str
    sha: str

    @classmethod
    def load(cls, name: str) -> Script:
        """Read `name`.lua of the package, with the functions that it shares with others in their place."""
        source = _read(name)
        for line, functions in _SHARED.items():
            source = source.replace(line, functions)
        return cls(source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())

    def run(
        self,
        store: Store,
        keys: tuple[bytes, ...],
        *arguments: Argument,
        within: float = CALL_S,
        acks: int = 0,
        undo: Undo | None = None,
    ) -> Any:
        """Run the script and return its reply, in at most `within` seconds.

        Args:
            store: Where.
            keys: All that it declares.
            arguments: What else it takes.
            within: Seconds, for all attempts together.
            acks: As in `Store.call`.
            undo: As in `Store.call`.

        Raises:
            NotReplicated: Fewer than `acks` replicas have acknowledged what it did.
            redis.RedisError: Redis refused, or could not be reached.
        """
        return self.run_with(store, keys, arguments, within, acks, undo)

    def run_with(
        self,
        store: Store,
        keys: tuple[bytes, ...],
        arguments: tuple[Argument, ...],
        within: float = CALL_S,
        acks: int = 0,
        undo: Undo | None = None,
    ) -> Any:
        """Do as `run`; what is asked most often is asked so, which takes less time."""
        began_at = monotonic()
        try:
            try:
                return store.call(("EVALSHA", self.sha, len(keys), *keys, *arguments), within, acks, undo)
            except NoScriptError:
                # After a restart, a failover or SCRIPT FLUSH; EVAL makes the server remember it again.
                left_s = within - (monotonic() - began_at)
                return store.call(self.in_full(keys, *arguments), left_s, acks, undo)
        except ResponseError as error:
            forbidden = self.forbidden(error)
            if forbidden is None:
                raise
            raise forbidden from error

    def forbidden(self, error: Exception) -> NoPermissionError | None:
        """Return what a script has met if its user may not run one of its commands, with their names."""
        said = str(error)
        line = _LINE.search(said)
        if _FORBIDDEN not in said or line is None:
            return None
        commands = _COMMAND.findall(self.source.splitlines()[int(line[1]) - 1])
        return NoPermissionError(f"the user may not run {' or '.join(commands)}: {said}")

    def command(self, keys: tuple[bytes, ...], *arguments: Argument) -> Command:
        """Return the command that runs the script where the server knows it."""
        return ("EVALSHA", self.sha, len(keys), *keys, *arguments)

    def in_full(self, keys: tuple[bytes, ...], *arguments: Argument) -> Command:
        """Return the command that runs the script wherever it is sent."""
        return ("EVAL", self.source, len(keys), *keys, *arguments)


ACQUIRE = Script.load("acquire")
RELEASE = Script.load("release")
LEAVE = Script.load("leave")
FORCE_RELEASE = Script.load("force_release")
INSPECT = Script.load("inspect")
RENEW = Script.load("renew")
RING = Script.load("ring")
CLAIM = Script.load("claim")

JOIN = Script.load("join")
STAY = Script.load("stay")
DEPART = Script.load("depart")
ROLL = Script.load("roll")
ENQUEUE = Script.load("enqueue")
ENQUEUED = Script.load("enqueued")
DEQUEUE = Script.load("dequeue")
RECALL = Script.load("recall")
WANT = Script.load("want")
CLAIM_RUN = Script.load("claim_run")
CONFIRM = Script.load("confirm")
BEGIN = Script.load("begin")
WITHDRAW = Script.load("withdraw")
EXPEL = Script.load("expel")
NOTE = Script.load("note")
DUE = Script.load("due")
