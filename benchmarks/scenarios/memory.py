"""Many locks are held, then all are released: how much memory of the server does each take, and keep?

By the server's own `used_memory`. "Later" counts the keys, and what they weigh, that live on for more than
two minutes after the last release; "for ever" those without an end.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import redis

from ..contenders import LOCKS, contender_of
from ..counters import counters
from ..keyspace import keys_like
from ..table import Column

if TYPE_CHECKING:
    from ..bench import Bench

NAME = "memory"
TITLE = "Memory in Redis"

COLUMNS = (
    Column("held: bytes", "held_bytes", digits=0, quartiles=False),
    Column("keys", "held_keys", digits=1, quartiles=False),
    Column("released: bytes", "released_bytes", digits=0, quartiles=False),
    Column("keys", "released_keys", digits=1, quartiles=False),
    Column("later: bytes", "later_bytes", digits=0, quartiles=False),
    Column("keys", "later_keys", digits=1, quartiles=False),
    Column("for ever: keys", "endless_keys", digits=1, quartiles=False),
)

_TTL_S = 600
_LATER_MS = 120_000


def run(bench: Bench) -> None:
    """Fill an empty server with each contender's locks."""
    amount = 100 if bench.settings.quick else 10_000
    for name in bench.interleaved(bench.choose(LOCKS), 1):
        found = bench.agent(name).call(fill, contender=name, port=bench.port, amount=amount)
        bench.add(f"{amount:,} locks", name, **found)


def fill(contender: str, port: int, amount: int) -> dict[str, float]:
    """Hold so many locks, release them, and weigh; runs in the agent."""
    one = contender_of(contender, port)
    one.acquire(warm := one.make("warm", _TTL_S))
    one.release(warm)
    with redis.Redis(port=port) as client:
        client.flushall()
        empty = counters(client)
        locks = [one.make(f"weighed {number:06}", _TTL_S) for number in range(amount)]
        for lock in locks:
            one.acquire(lock)
        held, held_keys = counters(client), client.dbsize()
        for lock in locks:
            one.release(lock)
        released, released_keys = counters(client), client.dbsize()
        later = _later(client)
    return {
        "held_bytes": (held.memory - empty.memory) / amount,
        "held_keys": held_keys / amount,
        "released_bytes": (released.memory - empty.memory) / amount,
        "released_keys": released_keys / amount,
        **{measure: value / amount for measure, value in later.items()},
    }


def _later(client: redis.Redis) -> dict[str, float]:
    """Weigh what will still be there in two minutes."""
    keys = keys_like(client)
    later = [key for key in keys if key.left_ms > _LATER_MS]
    return {
        "later_bytes": sum(key.weight for key in later),
        "later_keys": len(later),
        "endless_keys": sum(key.left_ms == math.inf for key in keys),
    }
