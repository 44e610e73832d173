"""Use 6: a lock shared with another system, which knows no more than ``SET NX PX``.

Both sides change the same stock file. ``lock_key="stock"`` makes the Redis key
``redislock_prefix`` + ``stock``: ``redislock:stock`` unless you changed the prefix. It is a
plain string key, so ``other_program.py``, a shell script or any client library can use it.
"""

from __future__ import annotations

from pathlib import Path

from celery_redislock import locked_task

from . import pace


@locked_task(lock_key="stock", lock_on_conflict="retry", lock_retry_delay=(0.1, 2))
def sell(stock_file: str, pieces: int) -> int:
    """Take `pieces` from the stock and return what is left."""
    stock = Path(stock_file)
    left = int(stock.read_text()) - pieces
    pace.slow_part(0.2)
    stock.write_text(str(left))
    return left
