"""Exposing app: prints the metrics of an app with a locked task, after one event of each kind."""

from __future__ import annotations

import prometheus_client
from celery import Celery

from celery_redislock import Holder, events
from celery_redislock.config.provider import provider_of
from celery_redislock.observing.fleet import Fleet, Look, Row
from celery_redislock.observing.receivers import install

from ..support.applications import locked

TASK, ENTRY = "shop.import", "import"


def main() -> None:
    """Tell the events, and print what is exposed."""
    app = Celery("shop", broker="memory://", set_as_current=False)
    app.conf.update(
        redislock_url="redis://localhost:1/0", redislock_metrics=["prometheus"], redislock_stats=False
    )
    task = locked(app, lambda: None, name=TASK)
    install()
    for event in happened(app, task):
        events.tell(event)
    prometheus_client.REGISTRY.register(Fleet(provider_of(app), lambda: [TASK], found_in_redis))
    print(prometheus_client.generate_latest().decode(), end="")


def found_in_redis(*_: object) -> Look:
    """Return what the exporter would have found in Redis."""
    return Look({TASK: Row(held=3, waiters=2, oldest_wait_s=4.0, oldest_hold_s=600.0)})


def happened(app: Celery, task: object) -> list[events.Event]:
    """Return an event of each kind that feeds a metric."""
    holder = Holder({"task": TASK, "id": "first"})
    return [
        events.Acquired(task, "first", None, "waited", 0.2),
        *(
            events.Conflicted(task, "late", "redislock:a", "skip", holder, "busy", is_shadow=is_shadow)
            for is_shadow in (False, True)
        ),
        events.Lost(task, "first", None, "expired", "its lease ran out"),
        events.Released(task, "first", None, 12.0, is_free=False),
        events.Orphaned(task, "first", "redislock:a", "parent"),
        events.StoreFailed("acquire", "ConnectionError"),
        events.Renewed("renewed", 0.01),
        events.Led(app, "beat", leads=True),
        events.Ticked(app, ENTRY, TASK, "2026-12-01T04:00:00+00:00", "sent", 60.0),
    ]


if __name__ == "__main__":
    main()
