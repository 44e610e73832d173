"""An app with its settings from the environment: what a test calls broken, or sound."""

from __future__ import annotations

import json
import os
from typing import Any

from celery import Celery

from celery_redislock import locked_task

#: Names the environment variable with the settings, as JSON.
SETTINGS = "SHOP_SETTINGS"

_given: dict[str, Any] = json.loads(os.environ.get(SETTINGS, "{}"))

app = Celery("shop", broker="memory://", set_as_current=False)
app.conf.update(_given)


@locked_task(app=app, shared=False, name="shop.import_csv", lock_args=["path"], lock_max_hold=600)
def import_csv(path: str) -> None:
    """Import nothing."""
