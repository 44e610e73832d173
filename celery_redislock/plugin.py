"""Plugin: how a process comes to know all of the Celery layer, whatever its application imports.

* The command line: Celery loads the entry point of ``celery locks`` (``operations/commands.py``) before it
  looks for the application. So every worker and every beat that it starts knows us.
* Any other program: the first name of the Celery layer that is taken from `celery_redislock` installs it, and
  so does ``celery_redislock.beat``.
"""

from __future__ import annotations

from .batch import receivers


def install() -> None:
    """Have this process, and every app in it, know locked tasks and batches.

    May be called any number of times.
    """
    receivers.install()
