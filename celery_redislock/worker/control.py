"""Control: what a running worker can be told about its locked tasks: terminate a run; show its locks."""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from importlib import import_module
from typing import Any

from celery.worker import state as worker_state
from celery.worker.control import control_command, inspect_command

from ..config.all_off import is_off
from ..config.location import key_prefix, store_settings
from ..config.plan import Planned
from ..config.urls import redacted
from ..doctor.workers import COMMAND
from ..pending.replacement import TERMINATE
from .request import LockedRequest


def install() -> None:
    """Have Celery know the commands: a worker that gets one, and the command line that sends one.

    May be called any number of times.
    """
    control_command(name=TERMINATE)(terminate)
    inspect_command(name="locks")(locks)
    inspect_command(name=COMMAND)(lock_settings)


def terminate(state: Any, task_id: str) -> None:
    """Terminate a run if it goes on in this worker, and drop its message if it comes again.

    Celery's ``revoke`` does not do: since 5.7 every other worker would store ``REVOKED`` for a run that still
    goes on, and without the reason.
    """
    worker_state.revoked.add(task_id)
    request = worker_state.requests.get(task_id)
    if request is not None:
        with suppress(NotImplementedError):  # this pool cannot terminate: the run ends when its body does
            request.terminate(state.consumer.pool)


def locks(_state: Any) -> list[dict[str, Any]]:
    """Show the locked tasks that this worker runs."""
    return [
        request.lock_view() for request in worker_state.active_requests if isinstance(request, LockedRequest)
    ]


def lock_settings(state: Any) -> dict[str, Any]:
    """Show where this worker keeps its locks, and with which options, as far as they are not the defaults."""
    app = state.app
    return {
        "app": app.main,
        "host": socket.gethostname(),
        "pool": _name_of(state.consumer.pool),
        "processes": _one_at_a_time(state.consumer.pool),
        "version": import_module(__name__.partition(".")[0]).__version__,
        "clock": time.time(),
        "prefix": key_prefix(app.conf),
        "server": None if is_off(app) else redacted(store_settings(app.conf).url),
        "tasks": {
            name: task.plan_for().options.not_default()
            for name, task in app.tasks.items()
            if isinstance(task, Planned) and not name.startswith(("celery.", "celery_redislock."))
        },
    }


def _name_of(pool: Any) -> str:
    """Return what ``celery worker -P`` calls a pool of Celery's; of another one, the name of its module."""
    return type(pool).__module__.rpartition(".")[2]


def _one_at_a_time(pool: Any) -> list[int]:
    """Return the processes of a pool that run one task at a time each: pools of threads name none."""
    processes: list[int] = getattr(pool, "info", {}).get("processes") or []
    return processes
