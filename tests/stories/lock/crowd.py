"""Crowd: processes that each take two to four of six locks at once, in random order, again and again.

``python -m tests.stories.lock.crowd SECONDS`` does it on a server of its own, and says what it saw.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from tempfile import TemporaryDirectory
from typing import Any

import redis

from celery_redislock import RedisLock, RedisLocks

from ...support.deadlines import eventually
from ...support.places import ROOT
from ...support.servers import Server

PROCESSES = 8
KEYS = tuple(f"crowd:{letter}" for letter in "abcdef")
#: Longer than anybody waits for those before it, on a busy machine too, seconds.
PATIENCE_S = 30.0


@dataclass(frozen=True)
class Seen:
    """What a crowd has seen.

    Attributes:
        rounds: How often somebody had all locks that it wanted.
        met: How often there was somebody else who had one of them.
        stuck: How often somebody has waited for longer than it should.
        left: Keys of Redis that are left: locks, lines.
    """

    rounds: int
    met: int
    stuck: int
    left: list[bytes]


def gather(
    client: redis.Redis, seconds: float, lock_class: type[Any], patience_s: float = PATIENCE_S
) -> Seen:
    """Let a crowd work for so many seconds, and return what it saw."""
    port = client.connection_pool.connection_kwargs["port"]
    named = f"{lock_class.__module__}:{lock_class.__qualname__}"
    with TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-m",
            __spec__.name,
            str(port),
            folder,
            named,
            str(seconds),
            str(patience_s),
        ]
        processes = [
            subprocess.Popen([*command, str(number)], cwd=ROOT, stdout=subprocess.PIPE)
            for number in range(PROCESSES)
        ]
        outputs = [process.communicate(timeout=seconds + 2 * patience_s + 60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * PROCESSES
    lines = b"\n".join(outputs).splitlines()
    keys: list[bytes] = list(client.scan_iter())
    left = [key for key in keys if key.startswith((b"crowd:", b"redislock.waiters:"))]
    return Seen(lines.count(b"had them"), lines.count(b"met"), lines.count(b"stuck"), sorted(left))


@contextmanager
def alone_in(folder: Path, names: list[str]) -> Iterator[None]:
    """Stand in the place of each lock, and say so if somebody else stands there."""
    for name in names:
        try:
            os.close(os.open(folder / name, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            print("met", flush=True)
    try:
        yield
    finally:
        for name in names:
            (folder / name).unlink(missing_ok=True)


def main(port: str, folder: str, lock_class: str, seconds: str, patience_s: str, seed: str) -> None:
    """Take some of the locks again and again."""
    chance, client = random.Random(int(seed)), redis.Redis(port=int(port))
    client.incr("ready")
    eventually(lambda: int(client.get("ready") or 0) >= PROCESSES, within=60)
    end = time.monotonic() + float(seconds)
    while time.monotonic() < end:
        names = chance.sample(KEYS, chance.randint(2, 4))
        locks = resolve_name(lock_class)([RedisLock(client, name, 10, renew=True) for name in names])
        waits = chance.random() < 0.9
        if locks.acquire(blocking=waits, timeout=float(patience_s) if waits else None):
            with alone_in(Path(folder), names):
                time.sleep(chance.uniform(0, 0.004))
            print("had them")
            locks.release()
        elif waits:
            print("stuck", flush=True)


if __name__ == "__main__":
    if len(sys.argv) == 2:
        with Server("redis") as server, server.client() as client:
            print(gather(client, float(sys.argv[1]), RedisLocks))
    else:
        main(*sys.argv[1:])
