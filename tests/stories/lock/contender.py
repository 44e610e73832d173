"""Contender: a lock in a process of its own, told by the test what to do with it."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from types import FrameType
from typing import Any

from ...support.places import ROOT

#: Seconds for an answer: a start-up or a busy machine, not a promise of the lock.
_ANSWER_WITHIN = 20.0


class Contender:
    """The test's end of a process that has one lock on one name.

    Args:
        port: Of the server, or of a proxy before it.
        name: The lock's name.
        options: Options of the lock, as JSON can carry them.
    """

    def __init__(self, port: int, name: str, **options: Any) -> None:
        self._command = [sys.executable, "-m", __name__, str(port), name, json.dumps(options)]

    def __enter__(self) -> Contender:
        # Unbuffered: `select` must see every answer that was not read yet.
        self._process = subprocess.Popen(
            self._command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def tell(self, verb: str, **options: Any) -> None:
        """Send a command and do not wait for its end."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"verb": verb, **options}).encode() + b"\n")

    def hear(self, within: float = _ANSWER_WITHIN) -> Any:
        """Return the answer to the oldest command that was not heard yet.

        Raises:
            AssertionError: It did not come in time, or the process died.
        """
        return self.hear_with_moment(within)[0]

    def hear_with_moment(self, within: float = _ANSWER_WITHIN) -> tuple[Any, float]:
        """Return the answer, and when the command ended by ``time.monotonic()``."""
        stdout = self._process.stdout
        assert stdout is not None
        ready, _, _ = select.select([stdout], [], [], within)
        assert ready, f"no answer within {within:g} s"
        line = stdout.readline()
        assert line, "the process has ended"
        answer, moment = json.loads(line)
        return answer, moment

    def ask(self, verb: str, **options: Any) -> Any:
        """Send a command and return its answer."""
        self.tell(verb, **options)
        return self.hear()

    def send_signal(self, number: signal.Signals) -> None:
        """Kill, stop or continue the process."""
        self._process.send_signal(number)
        if number == signal.SIGKILL:
            self._process.wait()


class Interrupted(Exception):
    """Raised by the alarm, in the midst of whatever runs."""


def _raise_interrupted(_number: int, _frame: FrameType | None) -> None:
    raise Interrupted


def main() -> None:
    """Obey, one line of JSON a command, until there is none."""
    import redis

    from celery_redislock import RedisLock

    port, name, options = sys.argv[1:]
    lock = RedisLock(redis.Redis(port=int(port)), name, **json.loads(options))
    signal.signal(signal.SIGALRM, _raise_interrupted)

    def acquire(alarm: float = 0, **how: Any) -> object:
        try:
            signal.setitimer(signal.ITIMER_REAL, alarm)
            return lock.acquire(**how)
        except Interrupted:
            return "interrupted"

    def acquire_beside(alarm: float, **how: Any) -> object:
        """Wait, and be interrupted, while a second thread, which comes a little later, waits as well."""
        got: list[bool] = []
        other = RedisLock(lock.redis_client, name, **json.loads(options))
        beside = threading.Timer(alarm / 2, lambda: got.append(other.acquire(**how)))
        beside.start()
        assert acquire(alarm, **how) == "interrupted"
        beside.join()
        return got[0]

    def fork() -> object:
        """Take, renew and release another lock in a child of this process."""
        child = os.fork()
        if child == 0:
            other = RedisLock(lock.redis_client, name + ":child", expire=0.5, renew=True)
            kept = other.acquire()
            time.sleep(1.2)
            os._exit(0 if kept and not other.lost and other.owned() and other.release() else 1)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    verbs = {
        "ping": lambda: "pong",
        "acquire": acquire,
        "acquire_beside": acquire_beside,
        "release": lock.release,
        "lost": lambda: lock.lost,
        "owned": lock.owned,
        "fork": fork,
    }
    for line in sys.stdin:
        command = json.loads(line)
        answer = verbs[command.pop("verb")](**command)
        print(json.dumps([answer, time.monotonic()]), flush=True)


if __name__ == "__main__":
    main()
