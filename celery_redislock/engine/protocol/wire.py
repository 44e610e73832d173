"""Wire: commands as the bytes that Redis reads (pure).

The packers of redis-py take any command and any encoding; ours knows that a lock sends the same
scripts with the same keys again and again, and packs that part of them once. The packer of hiredis ends
the process where a signal's handler raises while it packs a number.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TypeAlias

Argument: TypeAlias = bytes | str | int | float
#: A command's words.
Command: TypeAlias = tuple[Argument, ...]
#: Gives the command that takes back what another did; asked only when that is needed.
Undo: TypeAlias = Callable[[], Command]

#: Keys that begin with this stand last, and are other ones each time.
ONCE = b"redislock.once"

#: Heads that are kept: as many as lock names; and numbers.
_KEPT = 4096
#: What says how long a word is, by its length: to format it takes longer than all the rest.
_LENGTHS = [b"$%d\r\n" % length for length in range(256)]


def packed(command: Command) -> bytes:
    """Return a command in the Redis protocol.

    Args:
        command: Its words; of ``EVALSHA`` the third is the number of keys that follow.
    """
    constant = 1
    if command[0] == "EVALSHA":
        constant = 3 + command[2]  # type: ignore[operator, assignment]
        while constant > 3 and command[constant - 1].startswith(ONCE):  # type: ignore[union-attr, arg-type]
            constant -= 1
    return _head(len(command), command[:constant]) + _bulks(command[constant:])


@lru_cache(maxsize=_KEPT)
def _head(words: int, constant: Command) -> bytes:
    return b"*%d\r\n" % words + _bulks(constant)


def _bulks(words: Command) -> bytes:
    bulks = b""
    for word in words:
        if type(word) is int:
            bulks += _number(word)
            continue
        text = word.encode() if type(word) is str else word if type(word) is bytes else _text(word)
        length = len(text)
        bulks += _LENGTHS[length] + text + b"\r\n" if length < 256 else b"$%d\r\n%b\r\n" % (length, text)
    return bulks


def _text(word: Argument) -> bytes:
    """Return the text of what is a number or of a type of its own."""
    if isinstance(word, bytes):
        return word
    return b"%d" % word if isinstance(word, int) else str(word).encode()


# There are few: lengths of leases, no patience.
@lru_cache(maxsize=_KEPT)
def _number(number: int) -> bytes:
    return b"$%d\r\n%d\r\n" % (len(str(number)), number)
