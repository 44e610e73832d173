"""Control: what a running worker can be told about its locked tasks: terminate a run; show the locks."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from celery.worker import state as worker_state
from celery.worker.control import control_command, inspect_command

from ..pending.replacement import TERMINATE
from .request import LockedRequest


def install() -> None:
    """Have Celery know the commands: a worker that gets one, and the command line that sends one.

    May be called any number of times.
    """
    control_command(name=TERMINATE)(terminate)
    inspect_command(name="locks")(locks)


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
