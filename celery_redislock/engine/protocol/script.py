"""Scripts: reads the Lua files once and sends them by their digest."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from importlib.resources import files
from time import monotonic
from typing import TYPE_CHECKING, Any

from redis.exceptions import NoPermissionError, NoScriptError, ResponseError

from ..transport.store import CALL_S, Store
from .wire import Argument, Command, Undo

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

#: A line of a script in place of which the functions of another file stand: those that scripts share.
_SHARED = re.compile(r"-- (\w+)\.lua\n")


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
    def load(cls, folder: Traversable, name: str) -> Script:
        """Read a script, with the functions that it shares with others in their place.

        Args:
            folder: Where it lies, and the functions that it shares; those of the lock itself need not.
            name: Of the file, without ``.lua``.
        """
        source = _SHARED.sub(lambda line: _shared(folder, line[1]), _read(folder, name))
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


def _read(folder: Traversable, name: str) -> str:
    return (folder / f"{name}.lua").read_text(encoding="utf-8")


def _shared(folder: Traversable, name: str) -> str:
    beside = (folder / f"{name}.lua").is_file()
    return _read(folder if beside else LOCK_SCRIPTS, name)


#: The scripts of the lock itself.
LOCK_SCRIPTS = files(__package__).joinpath("..", "scripts", "lock")
