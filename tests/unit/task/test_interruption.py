"""Interruption: how a body is told that its lock is lost, and what is left of that in its process."""

from __future__ import annotations

import subprocess
import sys

from ...support.places import ROOT

#: Profiled, a thread of Python 3.11 stands still for as long as it looks for an error on its way.
PROFILED_AFTER_A_BODY = """
import sys, threading
from celery_redislock.task.interruption import interruptible_here

def run():
    with interruptible_here():
        pass

thread = threading.Thread(target=run)
thread.start()
thread.join()
sys.setprofile(lambda *_: None)
run()
sys.setprofile(None)
print("done")
"""


def test_a_body_in_a_thread_that_is_not_interrupted_leaves_nothing_to_look_for() -> None:
    program = [sys.executable, "-c", PROFILED_AFTER_A_BODY]

    ended = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=30, check=True)

    assert ended.stdout == "done\n"
