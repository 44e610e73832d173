"""Wire: commands as the bytes that Redis reads (pure).

The packers of redis-py take any command and any encoding; ours knows that a lock sends the same
scripts with the same keys again and again, and packs that part of them once.
"""

from __future__ import annotations

from functools import lru_cache

Argument = bytes | str | int | float

#: Heads that are kept: as many as lock names.
_HEADS = 4096


def packed(command: tuple[Argument, ...]) -> bytes:
    """Return a command in the Redis protocol.

    Args:
        command: Its words; of ``EVALSHA`` the third is the number of keys that follow.
    """
    constant = 3 + int(command[2]) if command[0] == "EVALSHA" else 1
    return _head(len(command), command[:constant]) + _bulks(command[constant:])


@lru_cache(maxsize=_HEADS)
def _head(words: int, constant: tuple[Argument, ...]) -> bytes:
    return b"*%d\r\n" % words + _bulks(constant)


def _bulks(words: tuple[Argument, ...]) -> bytes:
    bulks = bytearray()
    for word in words:
        text = word if isinstance(word, bytes) else str(word).encode()
        bulks += b"$%d\r\n%b\r\n" % (len(text), text)
    return bytes(bulks)
