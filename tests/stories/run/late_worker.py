"""A worker that is started from Python, and learns of us when its argument says; run as a program.

Arguments: the address of a server, a queue, and when the first name of ours is imported: "before" the
worker starts, or "late", while it runs. It ends with SIGTERM.
"""

from __future__ import annotations

import importlib
import signal
import sys
import threading
from typing import Any

from celery import Celery
from celery.contrib.testing import worker as testing

from . import plain_app


def define(app: Celery) -> None:
    """Define tasks while the worker runs, as a test of a user's does: a locked one and another."""
    locked_task: Any = importlib.import_module("celery_redislock").locked_task

    @locked_task(app=app, name="locked", shared=False, lock_args=(), lock_on_conflict="coalesce")  # type: ignore[misc]
    def locked(value: int) -> int:
        return value

    @app.task(name="late", shared=False)  # type: ignore[misc]
    def late(value: int) -> int:
        return value


def main(store: str, queue: str, when: str) -> None:
    """Work until told to stop, and say what is left of us then."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    plain_app.configure(store, queue)
    assert not [name for name in sys.modules if name.startswith("celery_redislock")]
    if when == "before":
        importlib.import_module("celery_redislock").LockedTask  # noqa: B018 - loaded when first used
    app = plain_app.app
    with testing.start_worker(app, perform_ping_check=False, shutdown_timeout=20) as worker:
        define(app)
        worker.reload()
        print("is ready", flush=True)
        stop.wait()
    rescuers = [thread for thread in threading.enumerate() if thread.name == "redislock-rescue"]
    for thread in rescuers:
        thread.join(4)
    print("left:", [thread for thread in rescuers if thread.is_alive()], flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
