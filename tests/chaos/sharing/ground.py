"""Ground: the locks of the run, who asks for them, and how long it takes."""

from __future__ import annotations

from dataclasses import dataclass

#: Length of a lease, seconds.
TTL_S = 0.6
#: For how long an operator pauses a lock, seconds.
PAUSED_S = 4.0
#: As many milliseconds a place of `RATE` counts.
WINDOW_MS = 100

#: Who asks: alone, as any other program does, to share it with any number; else the limit of the asker.
WRITER, STRANGER, READER = 251, 252, 253


@dataclass(frozen=True)
class Ground:
    """One lock.

    Attributes:
        name: The key.
        askers: Each kind, and how often it comes.
        min_hold_ms: For how long a place counts.
    """

    name: str
    askers: tuple[tuple[int, int], ...]
    min_hold_ms: int = 0


_BOOK = ((READER, 85), (WRITER, 12), (STRANGER, 3))
#: Several of each: while one waits for the lease of somebody who is dead, the others go on.
GROUNDS = tuple(
    Ground(f"chaos:{name}:{number}", askers, min_hold_ms)
    for number in range(4)
    for name, askers, min_hold_ms in (
        ("book", _BOOK, 0),
        ("pool of two to six", ((2, 30), (4, 40), (6, 30)), 0),
        ("pool of three", ((3, 100),), 0),
        ("pool and a writer", ((5, 90), (WRITER, 9), (STRANGER, 1)), 0),
        ("pool and readers", ((READER, 30), (4, 60), (WRITER, 10)), 0),
        ("rate", ((12, 100),), WINDOW_MS),
    )
)
