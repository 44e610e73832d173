"""Counting: a program that adds to a number in a file, one reader and writer at a time if its lock holds."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

import redis


def main() -> None:
    """Add one so many times, and report every meeting with another inside."""
    port, lock_class_path, folder, times = sys.argv[1:]
    module, _, class_name = lock_class_path.partition(":")
    lock_class = getattr(importlib.import_module(module), class_name)
    number, inside = Path(folder) / "number", Path(folder) / "inside"
    client = redis.Redis(port=int(port))
    for _ in range(int(times)):
        lock = lock_class(client, "counting", expire=10)
        if not lock.acquire(blocking=True, timeout=60):
            sys.exit("it waited a minute")
        try:
            os.close(os.open(inside, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            print("met another", flush=True)
        number.write_text(str(int(number.read_text() or 0) + 1))
        inside.unlink(missing_ok=True)
        lock.release()


if __name__ == "__main__":
    main()
