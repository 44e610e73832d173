"""Machine: which core runs what, and the facts that a figure is worth nothing without."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from .contenders import CONTENDERS
from .environments import python_of

NOT_INSTALLED = "not installed"

_VERSIONS = """
import json, sys
from importlib.metadata import PackageNotFoundError, version
found = {}
for package in sys.argv[1:]:
    try:
        found[package] = version(package)
    except PackageNotFoundError:
        found[package] = "not installed"
print(json.dumps(found))
"""


def can_pin() -> bool:
    """Whether processes can be kept apart here: on Linux, with two cores or more."""
    return hasattr(os, "sched_setaffinity") and len(os.sched_getaffinity(0)) > 1


def cores() -> tuple[set[int], set[int]]:
    """Return the server's core and the cores of all others."""
    first, *others = sorted(os.sched_getaffinity(0))
    return {first}, set(others)


def pin(pid: int, where: set[int]) -> None:
    """Keep a process with all its threads, and what it will start, on these cores."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), where)


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a living process has used, its dead children's excluded.

    From Linux's clock of that process, which counts nanoseconds. ``/proc`` counts hundredths of a second: as
    much as a hundred tasks that do nothing.
    """
    scheduled = 2
    return time.clock_gettime(~pid << 3 | scheduled)  # what clock_getcpuclockid(3) returns


def voluntary_switches(pid: int) -> int:
    """Return how often the threads of a living process have waited for something."""
    status = (Path(thread) / "status" for thread in Path(f"/proc/{pid}/task").iterdir())
    lines = (line for path in status for line in path.read_text().splitlines())
    return sum(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches"))


def facts(server: dict[str, Any], contenders: list[str], *, pinned: bool) -> dict[str, Any]:
    """Return what the machine and the software are; no name of a host, no path."""
    return {
        "when": datetime.now(timezone.utc).isoformat(timespec="minutes"),
        "cores": os.cpu_count(),
        "processor": _processor(),
        "system": platform.system(),
        "python": platform.python_version(),
        "server": _server(server),
        "pinned": "server on one core, clients on the others" if pinned else "no",
        "load average at start": load(),
        "versions": _versions(contenders),
    }


def load() -> list[float]:
    """Return how many processes wanted a core, in the mean of 1, 5 and 15 minutes."""
    return [round(mean, 1) for mean in os.getloadavg()]


def _server(info: dict[str, Any]) -> str:
    if "valkey_version" in info:
        return f"valkey {info['valkey_version']}"
    return f"redis {info['redis_version']}"


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown"
    )


def _versions(contenders: list[str]) -> dict[str, str]:
    wanted: dict[str, set[str]] = {python_of("main"): {"celery", "redis", "hiredis"}}
    for contender in contenders:
        entry = CONTENDERS[contender]
        wanted.setdefault(python_of(entry.environment), {"redis"}).add(entry.package)
    found: dict[str, str] = {}
    for python, packages in wanted.items():
        found |= _versions_in(python, sorted(packages), found)
    return found


def _versions_in(python: str, packages: list[str], known: dict[str, str]) -> dict[str, str]:
    done = subprocess.run([python, "-c", _VERSIONS, *packages], check=True, capture_output=True, text=True)
    found: dict[str, str] = json.loads(done.stdout)
    # A second environment's redis-py is told apart by its number.
    return {
        package if package not in known else f"{package} {number.partition('.')[0]}": number
        for package, number in found.items()
    }
