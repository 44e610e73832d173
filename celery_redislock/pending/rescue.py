"""Rescue: a step of each worker publishes the pending runs of locks that nobody releases any more.

A lease has ended with its dead holder, a process died between release and publication, or a lock was kept
for its `lock_min_hold`. Each worker looks now and then at the locks that are due; of several workers that
look at one lock, one publishes.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from typing import Any

from celery import Celery, bootsteps

from ..config.all_off import is_off
from ..errors import RedislockError
from .publish import index_of, serve
from .replacement import expel

logger = logging.getLogger(__name__)

#: How often a worker asks which locks are due, seconds; and how soon it asks again at the earliest.
ASK_S, LEAST_S = 2.0, 0.02
#: When a lock that could not be served is due again, milliseconds: the other locks come first.
AGAIN_MS = 5000


class Rescuer:
    """Looks at the locks that are due, in a thread of its own, until it is stopped.

    Args:
        app: Whose locks.
        is_over: Asked before each look; when it says so, the thread ends.
        serve: Publishes the pending runs of a lock.
    """

    def __init__(
        self,
        app: Celery,
        is_over: Callable[[], bool] = lambda: False,
        serve: Callable[[Celery, str], int | None] = serve,
    ) -> None:
        self._app, self._is_over, self._publish = app, is_over, serve
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="redislock-rescue", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stopped.set()

    terminate = stop

    def _run(self) -> None:
        pause_s = random.uniform(0, ASK_S)  # noqa: S311
        while not self._stopped.wait(pause_s) and not self._is_over():
            try:
                pause_s = self.look()
            except RedislockError as error:
                logger.debug("could not look for pending runs: %s", error)
                pause_s = ASK_S
            except Exception:
                logger.exception("could not look for pending runs")
                pause_s = ASK_S

    def look(self) -> float:
        """Serve the locks that are due; return after how many seconds to look again.

        Raises:
            RedislockError: Redis could not be reached.
        """
        if is_off(self._app):
            return ASK_S
        index = index_of(self._app)
        next_ms, due = index.due()
        for lock_name, due_at in due:
            index.schedule(lock_name, self._serve(lock_name), due_at)
        ask_s = ASK_S * random.uniform(0.75, 1.25)  # noqa: S311
        return ask_s if next_ms is None else min(max(next_ms / 1000, LEAST_S), ask_s)

    def _serve(self, lock_name: str) -> int | None:
        try:
            looks = (self._publish(self._app, lock_name), expel(self._app, lock_name))
        except Exception as error:  # noqa: BLE001 - one lock's trouble must not keep the others waiting
            logger.warning(
                "lock %r: could not publish its pending runs, a worker will do it later: %s", lock_name, error
            )
            return AGAIN_MS
        return min((look for look in looks if look is not None), default=None)


class RescueStep(bootsteps.StartStopStep):
    """Has a `Rescuer` run beside the worker, in its parent process."""

    requires = ("celery.worker.components:Pool",)

    def create(self, parent: Any) -> Any:
        """Return what Celery starts and stops with the worker."""
        return Rescuer(parent.app)


#: Attribute of a worker that ran already when it got its rescuer.
_ATTRIBUTE = "redislock_rescuer"


def see_to(worker: Any) -> None:
    """Have a `Rescuer` run beside a worker that runs already, unless it has one."""
    if any(isinstance(step, RescueStep) for step in worker.steps) or hasattr(worker, _ATTRIBUTE):
        return
    # Too late for a step: a worker counts its steps when it starts, and does not stop with one more.
    rescuer = Rescuer(worker.app, is_over=lambda: worker.blueprint.state != bootsteps.RUN)  # type: ignore[attr-defined]
    setattr(worker, _ATTRIBUTE, rescuer)
    rescuer.start()
