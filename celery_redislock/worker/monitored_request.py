"""Monitored request: has monitors see why a task did not run, or comes again.

Celery announces a run that ends in an `Ignore` to nobody. So Flower would show a skipped task as STARTED for
ever. What it does show of any task is the field `result`: the reason stands there.
"""

from __future__ import annotations

from typing import Any

from billiard.einfo import ExceptionWithTraceback  # type: ignore[attr-defined]
from celery.worker.request import Request

from ..messages.celery_exceptions import ComesAgain, Skipped

__all__ = ["MonitoredRequest"]


class MonitoredRequest(Request):
    """The request of a task that may end without its body."""

    _why_revoked: str | None = None

    def on_failure(self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False) -> Any:
        """Let monitors see a skipped task as revoked, and one that comes again as retried."""
        error = exc_info.exception
        if isinstance(error, ExceptionWithTraceback):
            error = error.exc
        if isinstance(error, Skipped):
            self._why_revoked = str(error)
            self.send_event("task-revoked", terminated=False, signum=None, expired=False)
        elif isinstance(error, ComesAgain):
            self.send_event("task-retried", exception=str(error), traceback="")
        return super().on_failure(exc_info, send_failed_event, return_ok)

    def send_event(self, type: str, **fields: Any) -> None:  # noqa: A002 - Celery's name
        """Tell monitors; of a revoked task also why it is, which Celery leaves out."""
        if type == "task-revoked" and self._why_revoked is not None:
            fields.setdefault("result", self._why_revoked)
        super().send_event(type, **fields)

    def _announce_revoked(self, reason: str, terminated: bool, signum: Any, expired: bool) -> None:
        self._why_revoked = reason
        super()._announce_revoked(reason, terminated, signum, expired)  # type: ignore[misc]
