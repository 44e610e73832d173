"""Imports: without its setting nothing of a monitor is imported that redis-py does not import itself."""

from __future__ import annotations

import subprocess
import sys

from ...support.places import ROOT, python_path

#: Runs a locked task in its own process, and prints what of these packages was imported because of us.
PROGRAM = """
import json, sys
import redis, redis.sentinel, redis.cluster
from celery import Celery

redis.Redis.from_url(sys.argv[1]).ping()
OURS = ("opentelemetry", "prometheus_client", "sentry_sdk")
before = {name for name in sys.modules if name.split(".")[0] in OURS}

from celery_redislock import locked_task, plugin
import celery_redislock.operations.commands

plugin.install()
app = Celery("t", broker="memory://", backend="cache+memory://")
app.conf.redislock_url = sys.argv[1]
app.conf.update(json.loads(sys.argv[2]))

@locked_task(app=app, lock_args=())
def body():
    return 1

assert body.apply().get() == 1
with body.lock_for():
    body.apply()
print(json.dumps(sorted({name for name in sys.modules if name.split(".")[0] in OURS} - before)))
"""


def imported(redis_url: str, settings: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, redis_url, settings],
        cwd=ROOT,
        env={"PYTHONPATH": python_path()},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_nothing_of_a_monitor_is_imported_without_its_setting(redis_url: str) -> None:
    assert imported(redis_url, "{}") == "[]"


def test_the_same_program_sees_what_a_setting_imports(redis_url: str) -> None:
    assert "opentelemetry" in imported(redis_url, '{"redislock_traces": true}')
