"""Traced: the application, and what Sentry and OpenTelemetry were told of it."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from celery import Celery

from celery_redislock import StoreUnavailable

from ...support.deadlines import eventually
from ...support.exported import Exported
from ...support.servers import Server


class Traced:
    """The application, and what its worker's monitors were told.

    Args:
        app: The application.
        exported: Where the monitors of the worker write.
        locks: The server of the locks.
        env: The environment of another worker, whose monitors write into the same file.
    """

    def __init__(self, app: Celery, exported: Exported, locks: Server, env: dict[str, str]) -> None:
        self.app = app
        self.locks = locks
        self.env = env
        self._told = exported.told

    def task(self, name: str) -> Any:
        """Return a task of the application."""
        return self.app.tasks[name]

    def sentry_events(self, task_id: str) -> list[str]:
        """Return the names of the errors that Sentry was told of a run."""
        return [
            event["exception"]["values"][-1]["type"]
            for event in self._told("event")
            if event.get("tags", {}).get("celery_task_id") == task_id
        ]

    def runs(self, task_id: str, at_least: int = 1) -> list[dict[str, Any]]:
        """Return the spans that OpenTelemetry's instrumentation has made of the runs of a task, in order."""

        def found() -> list[dict[str, Any]]:
            runs = [span for span in self.spans("run/") if _id_of(span) == task_id]
            return sorted(runs, key=lambda span: str(span["start_time"]))

        return eventually(lambda: len(runs := found()) >= at_least and runs, within=20)

    def acquires(self, run: dict[str, Any]) -> list[dict[str, Any]]:
        """Return our spans in a run."""
        return [
            span for span in self.spans("redislock.acquire") if span["parent_id"] == run["context"]["span_id"]
        ]

    def acquire(self, run: dict[str, Any]) -> dict[str, Any]:
        """Return the only one, once it is there."""
        (span,) = eventually(lambda: self.acquires(run), within=20)
        return span

    def spans(self, name: str) -> list[dict[str, Any]]:
        """Return the spans whose names begin like this."""
        return [span for span in self._told("span") if span["name"].startswith(name)]

    def numbers(self, name: str) -> dict[str, list[dict[str, Any]]]:
        """Return the data points of a metric by process, as each has exported them last."""
        last: dict[str, list[dict[str, Any]]] = {}
        for data in self._told("metrics"):
            for resource in data["resource_metrics"]:
                metrics = [metric for scope in resource["scope_metrics"] for metric in scope["metrics"]]
                named = [metric["data"]["data_points"] for metric in metrics if metric["name"] == name]
                last[resource["resource"]["attributes"]["service.instance.id"]] = [
                    point for points in named for point in points
                ]
        return last

    def find_the_locks_again(self) -> None:
        """Have this process notice that its connections are cut."""
        with suppress(StoreUnavailable), self.task("away").lock_for():
            pass


def _id_of(span: dict[str, Any]) -> Any:
    return span["attributes"].get("messaging.message.id")
