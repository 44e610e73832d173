"""``python -m tests.chaos``: real workers, random faults, and a verdict; exit code 1 for a broken promise."""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ..mutants.chaos import DOUBLES
from ..support.servers import Server, available_kinds
from . import places
from .journal import Entry
from .judge import judge
from .network import Line
from .report import save, show

#: How long all tasks have to end when the faults are over, seconds; wrong locks may never let them.
DRAIN_S, WRONG_DRAIN_S = 90.0, 15.0


def main() -> int:
    """Run what the command line asks for."""
    arguments = _parsed(sys.argv[1:])
    # By default it would end without a word to those that stand still.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("chaos was told to stop"))
    seed = arguments.seed if arguments.seed is not None else random.randrange(2**32)
    logs = arguments.logs or Path(tempfile.mkdtemp(prefix="chaos-"))
    logs.mkdir(parents=True, exist_ok=True)
    facts = {"seed": seed, "seconds": arguments.seconds, "without": arguments.without or "nothing"}
    print(f"chaos for {arguments.seconds:g} s, seed {seed}, workers' logs in {logs}", flush=True)
    kind = available_kinds()[0]
    with Server(kind) as store, Server(kind) as locks, Line(locks.port) as line:
        os.environ.update(_places(store, line, arguments.without or ""))
        # Only now: the application reads where everything is.
        from .app import TTL_S
        from .scene import Scene

        scene = Scene(random.Random(seed), store, locks, line, logs)
        if arguments.without:
            entries = scene.play(arguments.seconds, WRONG_DRAIN_S, lambda so_far: _is_seen(so_far, TTL_S))
        else:
            entries = scene.play(arguments.seconds, DRAIN_S)
    (logs / "journal.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    verdict = judge(entries, TTL_S)
    show(verdict, facts)
    if arguments.json:
        save(verdict, facts, arguments.json)
    if verdict.offences:
        print(f"the evidence is in {logs}: journal.jsonl and the workers' logs")
        return 1
    if not arguments.logs:
        shutil.rmtree(logs)
    return 0


def _parsed(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="how long faults come (60)")
    parser.add_argument("--seed", type=int, help="the same decisions again, though not the same timing")
    parser.add_argument("--without", choices=sorted(DOUBLES), help="leave out a rule, until that is seen")
    parser.add_argument("--json", type=Path, help="write the verdict there, too")
    parser.add_argument("--logs", type=Path, help="folder for the workers' logs and the journal")
    return parser.parse_args(arguments)


def _is_seen(entries: Sequence[Entry], ttl_s: float) -> bool:
    """Whether the rule that is left out was missed; what is lost or stuck shows only at the end."""
    verdict = judge(entries, ttl_s)
    return bool(verdict.overlaps_of_believers or verdict.corrupted_writes)


def _places(store: Server, line: Line, without: str) -> dict[str, str]:
    base = store.url.rsplit("/", 1)[0]
    return {places.STORE: base, places.LOCKS: line.url, places.WITHOUT: without}


if __name__ == "__main__":
    sys.exit(main())
