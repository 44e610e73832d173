"""Republish: a task is published again as it was, to run later."""

from __future__ import annotations

import logging
from typing import Any, NoReturn

from celery import Task

from .celery_exceptions import ComesAgain
from .delays import delayed
from .delivery import destination, how_sent, how_shown, travelling_headers

logger = logging.getLogger(__name__)


def retry_later(task: Task[..., Any], delay_s: float, header: str, value: Any, error: Exception) -> NoReturn:
    """Store the state ``RETRY``, publish the task again as `publish_again` does, and end this run.

    In this order: Celery itself stores ``RETRY`` after the publication. With a slow result backend this could
    overwrite the result of the retried run, and ``get()`` would then wait for ever.

    Args:
        task: The task; its request is the one that runs.
        delay_s: Seconds until the task runs.
        header: Name of a header that its message gets.
        value: Of that header, JSON: what the next run of it should know.
        error: Why.

    Raises:
        ComesAgain: Always.
    """
    store_retry(task, error)
    publish_again(task, delay_s, header, value)
    raise ComesAgain(str(error))


def store_retry(task: Task[..., Any], error: Exception) -> None:
    """Store the state ``RETRY`` with its reason for the task that runs here, if its results are stored."""
    request = task.request
    ignored = task.ignore_result if request.ignore_result is None else request.ignore_result
    if not ignored or task.store_errors_even_if_ignored:
        try:
            task.backend.mark_as_retry(str(request.id), error, request=request)
        except Exception as unstored:  # noqa: BLE001 - a result that cannot be stored must not lose the task
            logger.warning(
                "Task %s[%s]: could not store the state RETRY: %r", task.name, request.id, unstored
            )


def publish_again(task: Task[..., Any], delay_s: float, header: str, value: Any) -> Any:
    """Publish the task that runs here again, with a delay, and return its signature.

    The task keeps its id, its place in a canvas, its options and its count of retries.

    Args:
        task: The task; its request is the one that runs.
        delay_s: Seconds until the task runs.
        header: Name of a header that its message gets.
        value: Of that header, JSON: what the next run of it should know.
    """
    signature = signature_again(task, delay_s, header, value)
    signature.apply_async()
    return signature


def signature_again(task: Task[..., Any], delay_s: float, header: str, value: Any) -> Any:
    """Return what `publish_again` would publish."""
    signature = as_it_was(task)
    options = signature.options
    return signature.set(
        headers={**options["headers"], header: value}, **delayed(task, options, max(delay_s, 0))
    )


def bounded_delay(task: Task[..., Any], delay_s: float) -> float:
    """Return the delay, seconds, of the task that runs here if it is published again: see `delayed`."""
    to = destination(task.app, task.request.delivery_info)
    return float(delayed(task, to, delay_s).get("countdown", 0.0))


def as_it_was(task: Task[..., Any]) -> Any:
    """Return the call of the task that runs here as it was sent.

    Every publication of a call that was sent before begins with this. The call keeps its id, its place in a
    canvas, its options, its serialization, its count of retries, and the headers that are its own.
    """
    request = task.request
    signature = task.signature_from_request(request, retries=request.retries)
    for name in _OF_A_DELIVERY:
        signature.options.pop(name, None)
    headers = travelling_headers(request.headers)
    if request.parent_id is None and not request.is_eager:
        # Celery would make the task its own parent.
        headers["parent_id"] = None
    to = destination(task.app, request.delivery_info)
    return signature.set(headers=headers, **how_sent(request), **how_shown(request), **to)


#: Options that Celery takes from a delivery, and that are not the call's: see `destination`.
_OF_A_DELIVERY = ("exchange", "routing_key", "queue", "redelivered", "is_eager")
