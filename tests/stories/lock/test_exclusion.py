"""Mutual exclusion: processes that add to one number in a file lose nothing and never meet."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from ...support.places import ROOT
from ...support.servers import Server

PROCESSES = 5


def count(server: Server, lock_class: str, folder: Path, times: int) -> tuple[int, int]:
    """Count in several processes; return the number reached and how often two met."""
    (folder / "number").write_text("0")
    command = [sys.executable, "-m", "tests.stories.lock.counting"]
    command += [str(server.port), lock_class, str(folder), str(times)]
    processes = [
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(PROCESSES)
    ]
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    met = sum(output.count(b"met another") for output in outputs)
    failed = sum(process.returncode != 0 for process in processes)
    return int((folder / "number").read_text() or 0), met + failed


def test_processes_that_share_a_file_lose_no_update_and_never_meet(
    any_server: Server, tmp_path: Path
) -> None:
    assert count(any_server, "celery_redislock:RedisLock", tmp_path, 100) == (PROCESSES * 100, 0)


def test_without_a_lock_the_same_processes_do_meet(server: Server, tmp_path: Path) -> None:
    reached, met = count(server, "tests.mutants.locks:IsNeverBusy", tmp_path, 400)

    assert met > 0
    assert reached < PROCESSES * 400
