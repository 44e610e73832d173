"""Redirection: what a node of a cluster says when another has the key, and which key that is (pure)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import cast

from redis.exceptions import AskError, MovedError

from ..protocol.wire import Command
from .routing import Address

#: redis-py 5 leaves the word in the text, where later ones make it a class.
_SAID = re.compile(r"(?:(MOVED|ASK) )?(\d+) (\S*):(\d+)")

#: Commands that have no key.
_KEYLESS = frozenset({"PING", "SCAN", "SCRIPT", "INFO", "CONFIG"})


@dataclass(frozen=True)
class Redirection:
    """Where a command is sent on to.

    Attributes:
        slot: Of its key.
        address: The other node.
        is_asking: The slot is on its way there: only this command, behind an ASKING.
    """

    slot: int
    address: Address
    is_asking: bool


def redirection(error: Exception, told_by: Address) -> Redirection | None:
    """Return where an error sends its command on to; None when it is another error."""
    said = _SAID.fullmatch(str(error))
    # To redis-py a MovedError is an AskError, too.
    word = "MOVED" if isinstance(error, MovedError) else "ASK" if isinstance(error, AskError) else None
    if said is None or not (word or said[1]):
        return None
    # A node that does not know the other's host takes it for its own.
    address = (said[3] or told_by[0], int(said[4]))
    return Redirection(int(said[2]), address, is_asking=(word or said[1]) == "ASK")


def key_of(command: Command) -> bytes | None:
    """Return the first key of a command that locks use; None when it has none."""
    if command[0] in _KEYLESS:
        return None
    return cast(bytes, command[3] if command[0] in ("EVALSHA", "EVAL") else command[1])
