"""Counting: a program that adds to a number in a file, one reader and writer at a time if its lock holds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import redis

from ..support.deadlines import eventually
from ..support.places import ROOT
from .trial import Trial

PROCESSES = 5
#: What each of them adds, one at a time; all begin at the same moment.
ROUNDS = 100


def count(trial: Trial, folder: Path, times: int) -> tuple[int, int]:
    """Count in several processes; return the number reached and how often two met."""
    (folder / "number").write_text("0")
    lock_class: Any = trial.kind.lock_class
    port = trial.client.connection_pool.connection_kwargs["port"]
    command = [sys.executable, "-m", __name__, str(port)]
    command += [f"{lock_class.__module__}:{lock_class.__qualname__}", str(folder), str(times)]
    processes = [
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(PROCESSES)
    ]
    outputs = [process.communicate(timeout=100)[0] for process in processes]
    met = sum(output.count(b"met another") for output in outputs)
    failed = sum(process.returncode != 0 for process in processes)
    return int((folder / "number").read_text() or 0), met + failed


def main() -> None:
    """Add one so many times, and report every meeting with another inside."""
    port, lock_class, folder, times = sys.argv[1:]
    number, inside = Path(folder) / "number", Path(folder) / "inside"
    client = redis.Redis(port=int(port))
    client.incr("counting:ready")
    eventually(lambda: int(client.get("counting:ready") or 0) == PROCESSES, within=60)
    for _ in range(int(times)):
        lock = resolve_name(lock_class)(client, "counting", 10)
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
