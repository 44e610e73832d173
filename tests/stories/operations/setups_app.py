"""An app that is set up wrongly in three ways, unless its environment says otherwise."""

from __future__ import annotations

import json
import os
import time
from typing import Any

from celery import Celery

from celery_redislock import locked_task

from .shop_app import SETTINGS

_given: dict[str, Any] = json.loads(os.environ.get(SETTINGS, "{}"))

app = Celery("setups", set_as_current=False)
app.conf.update(_given)


@locked_task(app=app, shared=False, name="shop.import_csv", lock_args=_given.get("shop_lock_args"))
def import_csv(path: str, at: str) -> None:
    """Import nothing; each call is told when it was made."""


@locked_task(app=app, shared=False, name="shop.resize", acks_late=True, reject_on_worker_lost=True)
def resize(seconds: float) -> None:
    """Take some time."""
    time.sleep(seconds)


@app.task(shared=False, name="shop.report")
def report() -> None:
    """Report nothing."""
