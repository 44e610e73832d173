"""Processes: starts programs that cannot outlive the test run, and ends whole groups of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from .deadlines import eventually

#: Asks Linux to kill this process when its parent dies, then becomes the program. Run through
#: ``-c`` instead of a ``preexec_fn``, which Python 3.12 warns about in a process with threads.
_LAUNCHER = """
import ctypes, os, signal, sys
parent, program = int(sys.argv[1]), sys.argv[2:]
if sys.platform == "linux":
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before we asked
        sys.exit(1)
os.execv(program[0], program)
"""


#: Linux sends the signal when the *thread* ends that started the program: this one never does, while
#: a test may run in a thread of its runner.
_starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="starts-programs")


@dataclass(frozen=True)
class Process:
    """One line of the process table."""

    pid: int
    parent: int
    group: int
    state: str

    @property
    def is_alive(self) -> bool:
        """Whether it still can do something: a zombie only waits for its parent to look."""
        return self.state not in {"Z", "X"}


def start(
    program: Sequence[str | Path],
    *,
    output: IO[bytes],
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> subprocess.Popen[bytes]:
    """Start a program as the head of a process group of its own.

    It is killed when this process ends, even by SIGKILL (on Linux).
    """
    launcher = [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid())]
    return _starter.submit(
        subprocess.Popen,
        [*launcher, *map(str, program)],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        env=env,
        cwd=cwd,
        start_new_session=True,
    ).result()


def living(*, parent: int | None = None, group: int | None = None) -> list[int]:
    """List the pids of the living processes with that parent, or in that group."""
    return [
        process.pid
        for process in _process_table()
        if process.is_alive
        and (parent is None or process.parent == parent)
        and (group is None or process.group == group)
    ]


def signal_group(group: int, number: signal.Signals) -> None:
    """Send a signal to every process of a group; no matter when none is left."""
    with suppress(ProcessLookupError):
        os.killpg(group, number)


class Head(Protocol):
    """What `end_group` asks of the head of a group: `subprocess.Popen` has it."""

    @property
    def pid(self) -> int: ...

    def terminate(self) -> None: ...

    def wait(self, timeout: float) -> object: ...


#: A killed process is gone after this at the latest, however busy the machine is, seconds.
REAPED_S = 30.0


def end_group(process: Head, grace: float) -> list[int]:
    """Terminate the head of a group, then make sure that nothing of the group is left.

    Args:
        process: The head, as `start` returned it. It may be dead or paused.
        grace: Seconds that it gets between SIGTERM and SIGKILL.

    Returns:
        The pids that outlived their head and had to be killed: none, in good order.
    """
    signal_group(process.pid, signal.SIGCONT)
    process.terminate()
    try:
        process.wait(grace)
    except subprocess.TimeoutExpired:
        signal_group(process.pid, signal.SIGKILL)
        process.wait(REAPED_S)
    left_over = _outlivers(process.pid)
    signal_group(process.pid, signal.SIGKILL)
    eventually(
        lambda: not living(group=process.pid),
        message=f"no process of group {process.pid} should survive SIGKILL",
    )
    return left_over


def _outlivers(group: int) -> list[int]:
    with suppress(AssertionError):
        eventually(lambda: not living(group=group), within=2)
    return living(group=group)


def _process_table() -> list[Process]:
    proc = Path("/proc")
    if not (proc / "self" / "stat").exists():
        return _process_table_of_ps()
    table = []
    for stat in proc.glob("[0-9]*/stat"):
        with suppress(OSError):  # it ended while we looked
            # The name in parentheses may contain anything, spaces and parentheses too.
            state, parent, group = stat.read_text().rpartition(")")[2].split()[:3]
            table.append(Process(int(stat.parent.name), int(parent), int(group), state))
    return table


def _process_table_of_ps() -> list[Process]:
    columns = ["ps", "-A", "-o", "pid=,ppid=,pgid=,stat="]
    listing = subprocess.run(columns, check=True, capture_output=True, text=True).stdout
    rows = [line.split() for line in listing.splitlines()]
    return [Process(int(pid), int(ppid), int(pgid), stat[0]) for pid, ppid, pgid, stat in rows]
