"""Companion: what a feature may keep beside a lock: its key in the same slot, its scripts, errors translated.

A feature needs nothing else of the engine to keep a record in Redis. Its scripts lie in the folder
``scripts`` of its own package. Every script and every command that it sends may be sent twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from typing import Any

from .lease.lease import now
from .protocol import holder_record
from .protocol.exclusive import number_of, number_of_work
from .protocol.keys import index_of, keys_of, statistics_of
from .protocol.script import Script, Undo
from .protocol.wire import Argument, Command
from .transport.clients import Client, store_of
from .transport.redis_errors import translated
from .transport.store import ATTEMPT_S, CALL_S

#: The holder that a script described, see ``turn.lua``.
read_holder = holder_record.read


def load_scripts(package: str, *names: str) -> tuple[Script, ...]:
    """Read scripts from the folder ``scripts`` of a package.

    Args:
        package: Its name.
        names: Of the files, without ``.lua``.
    """
    return tuple(Script.load(files(package) / "scripts", name) for name in names)


def question_number() -> str:
    """Return the number of a question that is asked now: larger than those of this machine before."""
    return number_of(now())


class Record:
    """What a feature keeps in Redis, and how it is asked for.

    Every method raises `StoreUnavailable` when Redis refuses or cannot be reached in time.

    Args:
        client: As for a `RedisLock`.
        name: What errors call it.
    """

    def __init__(self, client: Client, name: str) -> None:
        self.store = store_of(client)
        self._name = name

    def run(
        self,
        script: Script,
        keys: tuple[bytes, ...],
        *arguments: Argument,
        within: float = CALL_S,
        acks: int = 0,
        undo: Undo | None = None,
    ) -> Any:
        """Run a script and return its reply; the arguments are those of `Store.run`."""
        with translated(self._name, script.name):
            return self.store.run(script, keys, arguments, within, acks, undo)

    def call(self, *command: Argument, within: float = CALL_S) -> Any:
        """Send a command and return its reply."""
        with translated(self._name, str(command[0]).lower()):
            return self.store.call(command, within)

    @contextmanager
    def in_bulk(self) -> Iterator[Callable[[Sequence[Command]], list[Any]]]:
        """Give a function that sends some commands at once, on one connection, and returns their replies.

        Redis serves nobody else between commands that are sent at once: keep them few, or short. None is sent
        again if a reply is lost.
        """
        connection = self.store.connection(ATTEMPT_S)

        def ask(commands: Sequence[Command]) -> list[Any]:
            with translated(self._name, str(commands[0][0]).lower()):
                replies = connection.exchange(commands, CALL_S)
                for failure in (each for each in replies if isinstance(each, Exception)):
                    raise failure
            return replies

        try:
            yield ask
        finally:
            connection.close()


class Companion(Record):
    """What a feature keeps beside one lock.

    Args:
        client: As for a `RedisLock`.
        lock_name: The Redis key of the lock.
    """

    def __init__(self, client: Client, lock_name: str) -> None:
        super().__init__(client, lock_name)
        self.keys = keys_of(lock_name)


class Index(Record):
    """What a feature keeps of all locks with one prefix; in a cluster it is on another node than they.

    Args:
        client: As for a `RedisLock`.
        prefix: What the names of the locks begin with.
    """

    def __init__(self, client: Client, prefix: str) -> None:
        super().__init__(client, prefix + "*")
        self.key = index_of(prefix)


__all__ = [
    "CALL_S",
    "Client",
    "Command",
    "Companion",
    "Index",
    "Script",
    "load_scripts",
    "now",
    "number_of_work",
    "question_number",
    "read_holder",
    "statistics_of",
]
