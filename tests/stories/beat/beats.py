"""Beats: real ``celery beat`` processes of one group, struck by a test in every way."""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from celery_redislock import Holder, RedisLock

from ...support import processes
from ...support.deadlines import eventually
from ...support.places import ROOT, python_path
from ...support.proxy import Proxy
from ...support.servers import Server

#: The key of the leader's lock, as it is by default.
LOCK = "redislock:beat:beat"

#: Seconds: importing Celery, and Django, on two busy cores.
_READY_WITHIN = 60.0

LOCKED = "celery_redislock.beat:LockedScheduler"


class Beat:
    """One ``celery beat`` with a schedule file of its own, and a network of its own to Redis."""

    def __init__(
        self, process: subprocess.Popen[bytes], log_path: Path, clock_path: Path, network: Proxy
    ) -> None:
        self.network = network
        self._clock_path = clock_path
        self._process = process
        self._log_path = log_path

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def log(self) -> str:
        """Return what it has written."""
        return self._log_path.read_text(errors="replace")

    def wait_for_log(self, text: str, times: int = 1, within: float = 30.0) -> None:
        """Return when the text stands in the log so often."""
        eventually(
            lambda: self.log().count(text) >= times, within, f"beat should write {text!r}:\n{self.log()}"
        )

    def is_ready(self) -> None:
        """Return when it has begun to look who leads."""
        self.wait_for_log("beat: Starting...", within=_READY_WITHIN)

    def step_clock(self, hours: float) -> None:
        """Set its wall clock so far ahead of the right time."""
        new = self._clock_path.with_suffix(".new")
        new.write_text(str(hours * 3600))
        new.replace(self._clock_path)

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def wait(self, within: float = 20.0) -> int:
        """Return its exit code when it has ended."""
        return self._process.wait(within)

    def kill(self) -> None:
        """Kill it, as a host does that loses its power."""
        self._process.kill()
        self._process.wait()

    def end(self) -> None:
        """Stop it in whatever state it is."""
        processes.end_group(self._process, grace=15)


@dataclass
class Group:
    """The beats of one schedule, on one server.

    Attributes:
        ttl: Of the leader's lease, seconds.
        takeovers: Seconds from the blow to the next leader, by kind of blow.
    """

    server: Server
    ttl: float = 2.0
    scheduler: str = LOCKED
    wrapped: str = "celery.beat:PersistentScheduler"
    env: Mapping[str, str] = field(default_factory=dict)
    takeovers: dict[str, list[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._stack = ExitStack()
        self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="beats-")))
        self.beats: list[Beat] = []
        self.client = self._stack.enter_context(self.server.client())
        self._started = 0

    @contextmanager
    def running(self, count: int = 2) -> Iterator[Group]:
        """Run so many beats for the length of a ``with`` block."""
        with self._stack:
            try:
                for beat in [self._start() for _ in range(count)]:
                    beat.is_ready()
                self.stands_by(count - 1)
                yield self
            except BaseException:
                for beat in self.beats:
                    print(f"---- log of beat {beat.pid} ----\n{beat.log()}", file=sys.stderr)
                raise
            finally:
                for beat in self.beats:
                    beat.end()

    @property
    def broker(self) -> str:
        """Where the messages go."""
        return self.server.url.removesuffix("/0") + "/1"

    def start(self) -> Beat:
        """Start one more beat, and return when it is ready."""
        beat = self._start()
        beat.is_ready()
        return beat

    def _start(self) -> Beat:
        self._started += 1
        name = f"{self._started}"
        network = self._stack.enter_context(Proxy(self.server.port))
        log_path, clock_path = self._folder / f"{name}.log", self._folder / f"{name}.clock"
        clock_path.write_text("0")
        environment = {
            **os.environ,
            "PYTHONPATH": python_path(),
            "PYTHONUNBUFFERED": "1",
            "BEAT_LOCKS": network.url,
            "BEAT_BROKER": network.url.removesuffix("/0") + "/1",
            "BEAT_TTL": str(self.ttl),
            "BEAT_MAX_INTERVAL": "0.5",
            "BEAT_SCHEDULER": self.wrapped,
            "BEAT_CLOCK": str(clock_path),
            **self.env,
        }
        command = [
            sys.executable,
            "-m",
            "celery",
            "-A",
            "tests.stories.beat.beat_app",
            "beat",
            "-S",
            self.scheduler,
        ]
        command += ["-s", str(self._folder / f"{name}.schedule"), "-l", "INFO"]
        with log_path.open("wb") as output:
            process = processes.start(command, output=output, env=environment, cwd=ROOT)
        beat = Beat(process, log_path, clock_path, network)
        self.beats.append(beat)
        return beat

    def holder(self) -> Holder | None:
        """Return who leads, as Redis has it."""
        return RedisLock(self.client, LOCK).holder()

    def leader_pid(self) -> int:
        """Return the process id of the leader; 0: there is none."""
        holder = self.holder()
        return int(holder.metadata.get("pid", 0)) if holder else 0

    def leader(self) -> Beat:
        """Return the beat that leads, when one does."""
        pid = eventually(self.leader_pid, 20, "a beat should lead")
        return next(beat for beat in self.beats if beat.pid == pid)

    def stands_by(self, count: int = 1) -> None:
        """Return when one beat leads and as many others wait in line."""
        waiters = f"redislock.waiters:{{{LOCK}}}"
        eventually(
            lambda: self.leader_pid() and self.client.zcard(waiters) >= count, 30, f"{count} should stand by"
        )

    def followed(self, former: Beat, since: float, blow: str) -> float:
        """Return, and note, how long after the blow another beat leads, seconds."""
        deadline = time.monotonic() + self.ttl + 30
        while self.leader_pid() in (0, former.pid):
            assert time.monotonic() < deadline, "another beat should lead"
            time.sleep(0.005)
        taken = time.monotonic() - since
        self.takeovers.setdefault(blow, []).append(taken)
        return taken

    def figures(self) -> str:
        """Return the takeover times for people."""
        return "; ".join(
            f"{blow}: {len(times)} times, median {statistics.median(times):.2f} s, most {max(times):.2f} s"
            for blow, times in self.takeovers.items()
        )


def strike(group: Group, blow: str) -> None:
    """Strike the leader, wait until another leads, and bring the struck one, or another, back."""
    former, since = group.leader(), time.monotonic()
    _BLOWS[blow](group, former, since)
    group.stands_by()


def _killed(group: Group, former: Beat, since: float) -> None:
    former.kill()
    group.followed(former, since, "SIGKILL")
    group.beats.remove(former)
    group.start()


def _stopped_and_continued(group: Group, former: Beat, since: float) -> None:
    lost = former.log().count("no longer the leader")
    former.send_signal(signal.SIGSTOP)
    group.followed(former, since, "SIGSTOP")
    time.sleep(1)
    former.send_signal(signal.SIGCONT)
    former.wait_for_log("no longer the leader", times=lost + 1)


def _cut_off(group: Group, former: Beat, since: float) -> None:
    former.network.cut()
    group.followed(former, since, "cut")
    former.network.heal()


def _unanswered(group: Group, former: Beat, since: float) -> None:
    former.network.blackhole()
    group.followed(former, since, "blackhole")
    former.network.heal()


def _terminated(group: Group, former: Beat, since: float) -> None:
    former.send_signal(signal.SIGTERM)
    group.followed(former, since, "SIGTERM")
    assert former.wait() == 0
    group.beats.remove(former)
    group.start()


_BLOWS = {
    "SIGKILL": _killed,
    "SIGSTOP": _stopped_and_continued,
    "cut": _cut_off,
    "blackhole": _unanswered,
    "SIGTERM": _terminated,
}
BLOWS = tuple(_BLOWS)


__all__ = ["BLOWS", "LOCK", "LOCKED", "Beat", "Group", "strike"]
