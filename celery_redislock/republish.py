"""Republish: a task goes back to the broker as it is, to run later."""

from __future__ import annotations

import logging
from typing import Any, NoReturn

from celery import Task
from celery.exceptions import Ignore

logger = logging.getLogger(__name__)


class ComesAgain(Ignore):
    """The task was published again, and its state ``RETRY`` is stored: Celery has nothing left to do."""


def retry_later(task: Task[..., Any], delay_s: float, header: str, note: Any, error: Exception) -> NoReturn:
    """Store the state ``RETRY``, publish the task again as `publish_again` does, and end this run.

    In this order: Celery stores ``RETRY`` after the publication, and where results are slow that could
    overwrite the result of the retried run, for which ``get()`` would then wait for ever.

    Args:
        task: The task; its request is the one that runs.
        delay_s: Seconds until it runs.
        header: Under which the note travels with it.
        note: What the next run of it should know, JSON.
        error: Why.

    Raises:
        ComesAgain: Always.
    """
    store_retry(task, error)
    publish_again(task, delay_s, header, note)
    raise ComesAgain(str(error))


def store_retry(task: Task[..., Any], error: Exception) -> None:
    """Store the state ``RETRY`` with its reason for the task that runs here, if its results are stored."""
    request = task.request
    ignored = task.ignore_result if request.ignore_result is None else request.ignore_result
    if not ignored or task.store_errors_even_if_ignored:
        try:
            task.backend.mark_as_retry(str(request.id), error, request=request)
        except Exception as unstored:  # noqa: BLE001 - a result that cannot be stored must not lose the task
            logger.warning("Task %s[%s]: state RETRY not stored: %r", task.name, request.id, unstored)


def publish_again(task: Task[..., Any], delay_s: float, header: str, note: Any) -> Any:
    """Publish the task that is being run again, with a delay, and return its signature.

    It keeps its id, its place in a canvas, its options and its count of retries.

    Args:
        task: The task; its request is the one that runs.
        delay_s: Seconds until it runs.
        header: Under which the note travels with it.
        note: What the next run of it should know, JSON.
    """
    signature = signature_again(task, delay_s, header, note)
    signature.apply_async()
    return signature


def signature_again(task: Task[..., Any], delay_s: float, header: str, note: Any) -> Any:
    """Return what `publish_again` would publish."""
    request = task.request
    headers = {**(request.headers or {}), header: note}
    return task.signature_from_request(
        request, countdown=bounded_delay(task, delay_s), retries=request.retries, headers=headers
    )


def bounded_delay(task: Task[..., Any], delay_s: float) -> float:
    """Return a delay that the broker keeps, seconds.

    A worker holds a delayed message unacknowledged: a Redis broker would deliver it a second time
    after its `visibility_timeout`, and each copy again.
    """
    visibility_s = (task.app.conf.broker_transport_options or {}).get("visibility_timeout")
    return min(delay_s, visibility_s / 2) if visibility_s else delay_s
