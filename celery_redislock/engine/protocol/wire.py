"""Packs a command into the bytes that Redis reads (pure).

redis-py's own packers are not used: a free cycle takes 6 % longer with the one for hiredis, and 8 % longer
with the one in Python. And hiredis ends the process, by a segmentation fault, when a signal handler raises
while it packs a number: a soft time limit does that. docs/benchmarks.md has the command that measures it.

Nothing is cached. The packed keys of 4,096 locks made a cycle 1 % shorter where one lock is taken again and
again, and 4 % longer where each cycle takes a lock of another name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Argument: TypeAlias = bytes | str | int | float
#: A command's words.
Command: TypeAlias = tuple[Argument, ...]
#: Gives the command that takes back what another did; asked only when that is needed.
Undo: TypeAlias = Callable[[], Command]


def packed(command: Command) -> bytes:
    """Return a command in the Redis protocol."""
    parts: list[int | bytes] = [len(command)]
    for word in command:
        if type(word) is bytes:
            text = word
        elif isinstance(word, str):
            text = word.encode()
        elif isinstance(word, int):
            text = b"%d" % word
        else:
            text = word if isinstance(word, bytes) else str(word).encode()
        # Two appends take less time than one extend.
        parts.append(len(text))
        parts.append(text)
    # One formatting takes less time than many.
    return (b"*%d\r\n" + b"$%d\r\n%b\r\n" * len(command)) % tuple(parts)
