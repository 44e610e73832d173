"""Message: a call as Redis keeps it while it is pending, and back."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from typing import Any

from celery import Task
from kombu import serialization

from ..messages.headers import pending_in
from ..messages.republish import as_it_was
from .runs import PendingRun

__all__ = ["run_of_request", "run_of_signature", "signature_of"]


def run_of_request(task: Task[..., Any]) -> PendingRun:
    """Return the task that runs here as a pending run, with its id, its options and its place in a canvas."""
    triggered_us = int(pending_in(task.request.headers).get("triggered_us", 0))
    return run_of_signature(task, as_it_was(task), triggered_us)


def run_of_signature(task: Task[..., Any], signature: Any, triggered_us: int = 0) -> PendingRun:
    """Return a call that was not published as a pending run.

    Args:
        task: The task.
        signature: Of the call; its options have the ``task_id``.
        triggered_us: As in `PendingRun`; 0: now.
    """
    serializer = signature.options.get("serializer") or task.serializer or task.app.conf.task_serializer
    content_type, encoding, body = serialization.dumps(dict(signature), serializer=serializer)
    data = body.encode() if isinstance(body, str) else bytes(body)
    message = json.dumps([content_type, encoding, b64encode(data).decode()])
    expires = signature.options.get("expires", task.expires) is not None
    return PendingRun(task.name, str(signature.options["task_id"]), message.encode(), triggered_us, expires)


def signature_of(task: Task[..., Any], run: PendingRun) -> Any:
    """Return the call of a pending run.

    Raises:
        ContentDisallowed: This app does not accept how it was serialized.
    """
    content_type, encoding, body = json.loads(run.message)
    accept = serialization.prepare_accept_content(task.app.conf.accept_content)
    call = serialization.loads(b64decode(body), content_type, encoding, accept=accept)
    return task.app.signature(call)
