"""Ledger: what a process writes down of its grants; the kernel has each record at once, whoever is killed."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

#: Of a record: what it says.
GRANTED, ENDED, FAILED, WAITED = range(4)

_FORM = struct.Struct("<BBBxIQdd")


class Record(NamedTuple):
    """One record.

    Attributes:
        what: `GRANTED`, `ENDED`, `FAILED` (Redis was away) or `WAITED` (until the end of the time-out).
        ground: Which lock, its place in `GROUNDS`.
        kind: Who asked.
        grant: Number of the grant in this process.
        fencing_token: Of the grant; 0 where there is none.
        at: When, on the clock that all processes share.
        until: Of a grant: until when its holder believes in it, if it hears no more. Of an end: until when it
            did.
    """

    what: int
    ground: int
    kind: int
    grant: int
    fencing_token: int
    at: float
    until: float


class Ledger:
    """Writes the records of one process."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def write(self, record: Record) -> None:
        """Append a record."""
        os.write(self._file, _FORM.pack(*record))


def read(path: Path) -> Iterator[Record]:
    """Give the records of a file; the last may be cut off."""
    text = path.read_bytes()
    whole = len(text) // _FORM.size * _FORM.size
    return (Record(*fields) for fields in _FORM.iter_unpack(text[:whole]))
