"""Scripts: a Lua file, the digest by which Redis knows it, and the commands that run it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, TypeAlias

from redis.exceptions import NoPermissionError

from .wire import Argument, Command

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
    """One verb, run on the server as one step. Every script may be sent twice.

    Attributes:
        source: Its text.
        sha: By which Redis knows it.
        name: Of the verb.
    """

    source: str
    sha: str
    name: str = ""

    @classmethod
    def load(cls, folder: Traversable, name: str) -> Script:
        """Read a script, with the functions that it shares with others in their place.

        Args:
            folder: Where it lies, and the functions that it shares; those of the lock itself need not.
            name: Of the file, without ``.lua``.
        """
        source = _SHARED.sub(lambda line: _shared(folder, line[1]), _read(folder, name))
        return cls(source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest(), name)

    def forbidden(self, error: Exception) -> NoPermissionError | None:
        """Return what a script has met if its user may not run one of its commands, with their names."""
        said = str(error)
        line = _LINE.search(said)
        if _FORBIDDEN not in said or line is None:
            return None
        commands = _COMMAND.findall(self.source.splitlines()[int(line[1]) - 1])
        return NoPermissionError(f"the Redis user may not run {' or '.join(commands)}: {said}")

    def command(self, keys: tuple[bytes, ...], arguments: tuple[Argument, ...] = ()) -> Command:
        """Return the command that runs the script where the server knows it.

        Args:
            keys: All that it declares.
            arguments: What else it takes.
        """
        return ("EVALSHA", self.sha, len(keys), *keys, *arguments)

    def in_full(self, keys: tuple[bytes, ...], arguments: tuple[Argument, ...] = ()) -> Command:
        """Return the command that runs the script wherever it is sent."""
        return ("EVAL", self.source, len(keys), *keys, *arguments)


#: One run of a script: with which keys and arguments.
Question: TypeAlias = tuple[Script, tuple[bytes, ...], tuple[Argument, ...]]
#: Returns what takes a question back. Few questions need it, so it is made when one does.
Undo: TypeAlias = Callable[[], Question]


def _read(folder: Traversable, name: str) -> str:
    return (folder / f"{name}.lua").read_text(encoding="utf-8")


def _shared(folder: Traversable, name: str) -> str:
    beside = (folder / f"{name}.lua").is_file()
    return _read(folder if beside else LOCK_SCRIPTS, name)


#: The scripts of the lock itself.
LOCK_SCRIPTS = files(__package__).joinpath("..", "scripts", "lock")
