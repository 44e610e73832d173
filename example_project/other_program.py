"""A program of another system: it delivers to the stock, and has never heard of this project.

It uses three Redis commands; ``redis-cli`` in a shell script would do the same::

    SET redislock:stock <random> NX PX 30000
    ... the work, in less than 30 seconds ...
    EVAL "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1])
          else return 0 end" 1 redislock:stock <random>

Usage: ``python other_program.py REDIS_URL LOCK_KEY STOCK_FILE PIECES [SECONDS_TO_WAIT]``
Exit code: 0 delivered, 75 the stock stayed busy.
"""

from __future__ import annotations

import sys
import time
import uuid
from pathlib import Path

import redis

LEASE_MS = 30_000
BUSY = 75
RELEASE = """
if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) else return 0 end
"""


def slow_part(seconds: float) -> None:
    """Unload the lorry."""
    time.sleep(seconds)


def deliver(stock_file: Path, pieces: int) -> None:
    """Add `pieces` to the stock."""
    stock = int(stock_file.read_text())
    slow_part(0.2)
    stock_file.write_text(str(stock + pieces))


def main(url: str, lock_key: str, stock_file: str, pieces: str, wait: str = "30") -> int:
    """Deliver while holding the lock; give up when it is not free within `wait` seconds."""
    client = redis.Redis.from_url(url)
    token = str(uuid.uuid4())
    give_up = time.monotonic() + float(wait)
    while not client.set(lock_key, token, nx=True, px=LEASE_MS):
        if time.monotonic() >= give_up:
            print(f"{lock_key} is busy", file=sys.stderr)
            return BUSY
        time.sleep(0.1)
    try:
        deliver(Path(stock_file), int(pieces))
    finally:
        client.eval(RELEASE, 1, lock_key, token)
        client.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
