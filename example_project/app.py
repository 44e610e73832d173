"""The Celery application: ``celery -A example_project.app worker``."""

from __future__ import annotations

from celery import Celery

from . import monitoring

app = Celery("example_project", include=["example_project.tasks"])
app.config_from_object("example_project.config")
monitoring.connect()
