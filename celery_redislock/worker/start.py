"""Worker: what a worker does about locks when it starts, and when it is told to."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Any

import redis
from celery import Celery, bootsteps
from celery.worker import state as worker_state
from celery.worker.control import control_command, inspect_command

from ..config.mode import is_off
from ..config.options import OPTIONS
from ..config.plan import Planned
from ..config.provider import provider_of
from ..config.unknown_settings import check_unknown_settings
from ..engine import meaning_of, reaches
from ..engine.fitness import complaints
from ..messages import replies
from ..pending.replacement import TERMINATE
from .request import LockedRequest

logger = logging.getLogger(__name__)


class LockStep(bootsteps.Step):
    """Stops a worker with wrong settings before it takes a message, and says when Redis is away."""

    def __init__(self, parent: Any, **kwargs: Any) -> None:
        super().__init__(parent, **kwargs)
        if is_off(parent.app):
            check_unknown_settings(parent.app.conf)
            logger.warning("locks: off for each task of this worker (lock_mode)")
            return
        provider = provider_of(parent.app)
        try:
            reaches(provider.client)
        except redis.RedisError as error:
            logger.warning(
                "locks: Redis at %s cannot be reached (%s); the worker goes on, but no locked task can run",
                provider.shown,
                meaning_of(error),
            )
        else:
            logger.info("locks: Redis at %s, prefix %r", provider.shown, provider.prefix)
            for complaint in complaints(provider.client):
                logger.warning("locks: Redis at %s: %s", provider.shown, complaint)


def warn_of_options_that_nobody_reads(instance: Any = None, **_: Any) -> None:
    """Name the tasks that carry lock options and are no `LockedTask`: they run without a lock."""
    for name, task in instance.app.tasks.items():
        options = [f"lock_{option}" for option in OPTIONS if hasattr(task, f"lock_{option}")]
        # Celery's own and ours have some where the setting task_annotations gives them to all tasks.
        if (
            options
            and not isinstance(task, Planned)
            and not name.startswith(("celery.", "celery_redislock."))
        ):
            logger.warning(
                "Task %s has %s, but is not locked: declare it with locked_task, or with base=LockedTask",
                name,
                ", ".join(options),
            )


def warn_of_what_cannot_be(instance: Any = None, **_: Any) -> None:
    """Name the tasks whose options want more than the worker's settings give."""
    app = instance.app
    options = {name: task.plan_for().options for name, task in app.tasks.items() if isinstance(task, Planned)}
    locked = {name: each for name, each in options.items() if each.mode != "off"}
    replacing = [name for name, each in locked.items() if each.on_conflict == "replace"]
    scoped = [name for name, each in locked.items() if each.scope != "run"]
    if replacing and not app.conf.worker_enable_remote_control:
        logger.warning(
            "locks: worker_enable_remote_control is off: a run of %s that is replaced, and does not stop by "
            "itself, is not terminated after lock_replace_after",
            ", ".join(replacing),
        )
    if scoped and replies.are_sent(app):
        logger.warning(
            "locks: with this result_backend only the process that has published a call can get its result: "
            "one that meets an equal call of another process (lock_scope of %s) would wait for ever",
            ", ".join(scoped),
        )


@control_command(name=TERMINATE)
def terminate(state: Any, task_id: str) -> None:
    """Terminate a run where it goes on; a message of it that comes again is dropped.

    Not by Celery's ``revoke``: since 5.7 every other worker would store ``REVOKED`` for a run that still goes
    on, and lose its reason.
    """
    worker_state.revoked.add(task_id)
    request = worker_state.requests.get(task_id)
    if request is not None:
        with suppress(NotImplementedError):  # its pool cannot: the run ends when its body does
            request.terminate(state.consumer.pool)


@inspect_command()
def locks(state: Any) -> list[dict[str, Any]]:
    """Show the locked tasks that this worker runs."""
    del state  # what runs here, the worker's own module of that name knows
    return [
        request.lock_view() for request in worker_state.active_requests if isinstance(request, LockedRequest)
    ]


def check_at_start(app: Celery) -> None:
    """Have the workers of this app check their settings for locks."""
    app.steps["worker"].add(LockStep)
