"""Celery's settings, from the environment where that helps to try things out.

========================  ======================================================================
``REDISLOCK_URL``         Redis for the broker, the results and the locks
``REDISLOCK_MODE``        ``on``, ``shadow`` or ``off``: the default of all locked tasks
``DATABASE_URL``          where accounts and flights live (see ``database.py``)
``EXAMPLE_IMPORT_EVERY``  seconds between two scheduled imports; 0: none
``EXAMPLE_MONTHS_EVERY``  the same for imports month by month, which by default are not scheduled
``EXAMPLE_CHANGE_EVERY``  the same for changes, each of which asks for a resync
``EXAMPLE_BEAT_TTL``      seconds after which another beat takes over from a dead one
``EXAMPLE_API_CALLS``     how many calls of an API may begin in a window; 30
``EXAMPLE_API_WINDOW``    how long that window is, seconds; 60
``EXAMPLE_NAMESPACE``     put before every Redis key of the project
``EXAMPLE_EVENTS``        file to which runs and skips are written (see ``events.py``)
========================  ======================================================================
"""

from __future__ import annotations

import os

from kombu import Queue

example_namespace = os.environ.get("EXAMPLE_NAMESPACE", "")

broker_url = os.environ.get("REDISLOCK_URL", "redis://localhost:6379/0")
result_backend = broker_url
broker_connection_retry_on_startup = True
broker_transport_options = {"global_keyprefix": example_namespace}
result_backend_transport_options = {"global_keyprefix": example_namespace}
result_expires = 3600

# What is over in a moment does not wait behind imports, if a worker of its own listens to its queue
# (-Q quick); a worker that is told nothing listens to both.
task_default_queue = "slow"
task_queues = [Queue("slow"), Queue("quick")]
task_routes = {
    "example_project.monthly_import.start_monthly_import": {"queue": "quick"},
    "example_project.resync.*": {"queue": "quick"},
}

# A long import must not sit on messages that a free process could run.
worker_prefetch_multiplier = 1

redislock_url = broker_url
redislock_prefix = f"{example_namespace}redislock:"
redislock_mode = os.environ.get("REDISLOCK_MODE", "on")

redislock_beat_ttl = float(os.environ.get("EXAMPLE_BEAT_TTL", "15"))

_EVERY = {
    "import the flights": ("csv_import.import_flights", os.environ.get("EXAMPLE_IMPORT_EVERY", "3600")),
    "import by month": ("monthly_import.start_monthly_import", os.environ.get("EXAMPLE_MONTHS_EVERY", "0")),
    "change something": ("resync.change", os.environ.get("EXAMPLE_CHANGE_EVERY", "0")),
}
beat_schedule = {
    entry: {"task": f"example_project.{task}", "schedule": float(seconds)}
    for entry, (task, seconds) in _EVERY.items()
    if float(seconds)
}
