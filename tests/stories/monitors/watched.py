"""The application as Sentry watches it: with its own integration, and nothing of ours that would tell it.

All that it would send is written to the file ``EXPORTED``. As a program it is a beat that sends
one entry: ``watched TASK ENTRY``.
"""

from __future__ import annotations

import sys
from datetime import datetime, timezone

import sentry_sdk
from celery.beat import Scheduler
from celery.schedules import crontab
from sentry_sdk.integrations.celery import CeleryIntegration

from ...support.exporters import SentryToFile
from .app import app

sentry_sdk.init(
    dsn="http://key@127.0.0.1:1/1",
    transport=SentryToFile,
    traces_sample_rate=1.0,
    integrations=[CeleryIntegration(monitor_beat_tasks=True)],
)


def send_one(task: str, name: str) -> None:
    """Send an entry as beat does: by the method that Sentry's integration is around."""
    app.conf.beat_schedule = {name: {"task": task, "schedule": crontab()}}
    scheduler = Scheduler(app, lazy=True)
    scheduler.setup_schedule()
    entry = scheduler.schedule[name]
    entry.last_run_at = datetime(2000, 1, 1, tzinfo=timezone.utc)
    scheduler.apply_entry(entry, producer=scheduler.producer)


if __name__ == "__main__":
    send_one(*sys.argv[1:])
