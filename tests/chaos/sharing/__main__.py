"""``python -m tests.chaos.sharing``: shared locks under random faults; exit code 1 for a broken promise."""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import redis

from celery_redislock import RedisLock

from ...mutants.sharing import DOUBLES
from ...support.servers import Server, available_kinds
from ..journal import clock
from .ground import GROUNDS, TTL_S
from .ledger import read
from .trouble import Crowd, Trouble
from .verdict import Verdict, judge

PROCESSES = 4
TICK_S = 0.02
#: How late a lock may be free after the last lease has ended, seconds.
SLACK_S = 2.0
#: Offences that are printed.
SHOWN = 5


def main() -> int:
    """Run what the command line asks for."""
    arguments = _parsed(sys.argv[1:])
    seed = arguments.seed if arguments.seed is not None else random.randrange(2**32)
    if arguments.without:
        DOUBLES[arguments.without]()
    folder = Path(tempfile.mkdtemp(prefix="sharing-"))
    with Server(available_kinds()[0]) as server:
        verdict, troubles = play(server, random.Random(seed), folder, arguments.seconds)
    facts = {"seed": seed, "seconds": arguments.seconds, "troubles": troubles, **asdict(verdict)}
    facts["grants_per_s"] = round(verdict.grants / arguments.seconds)
    if arguments.json:
        arguments.json.write_text(json.dumps(facts, indent=2))
    for name, value in facts.items():
        if name != "offences":
            print(f"{name}: {value}")
    print(f"broken promises: {len(verdict.offences)}", *verdict.offences[:SHOWN], sep="\n")
    shutil.rmtree(folder)
    return 1 if verdict.offences else 0


def play(server: Server, rng: random.Random, folder: Path, seconds: float) -> tuple[Verdict, dict[str, int]]:
    """Make trouble for so many seconds; return what is to be said of it, and how much trouble there was."""
    # Room for what a pause adds: the client is paused with the others.
    client = server.client(socket_timeout=10)
    crowd = Crowd(server.port, folder, PROCESSES, rng)
    trouble, began = Trouble(crowd, client, rng), clock()
    while clock() < began + seconds:
        trouble.step()
        time.sleep(TICK_S)
    trouble.end()
    ended = clock()
    crowd.end()
    ledgers = {path.name: read(path) for path in folder.iterdir()}
    deaths = {path.name: died for path, died in crowd.deaths.items()}
    verdict = judge(ledgers, deaths, began, ended, trouble.changes)
    verdict.offences += [*crowd.died_by_themselves, *_stuck(client)]
    return verdict, dict(trouble.count)


def _stuck(client: redis.Redis) -> list[str]:
    """Say which locks are not free when all leases are over, and which keys would stay for ever."""
    found = []
    for ground in GROUNDS:
        lock = RedisLock(client, ground.name, TTL_S)
        if lock.acquire(blocking=True, timeout=TTL_S + SLACK_S):
            lock.release()
        else:
            found.append(f"{ground.name} is stuck: {lock.holders()}")
    endless = [key for key in client.scan_iter() if client.ttl(key) == -1]
    return found + [f"{key!r} stays for ever" for key in endless]


def _parsed(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.sharing", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="how long trouble comes (60)")
    parser.add_argument("--seed", type=int, help="the same decisions again, though not the same timing")
    parser.add_argument("--without", choices=sorted(DOUBLES), help="leave out a rule")
    parser.add_argument("--json", type=Path, help="write the verdict there, too")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
