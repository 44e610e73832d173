"""Masking: what may hold a password of ours is masked where Celery masks its own settings.

``celery report``, ``inspect conf`` and Flower show ``app.conf.table()``. It masks each setting, and each
entry of a dict in one, whose name matches ``HIDDEN_SETTINGS``: by itself those with PASS, TOKEN or KEY.
The whole URL is masked, not its password alone: a worker's start says where the locks are.
"""

from __future__ import annotations

import re
from typing import Any

from celery.app import utils

#: In any spelling: also ``CELERY_REDISLOCK_URL``. A provider may show its password in its repr.
_OURS = "REDISLOCK_URL|CREDENTIAL_PROVIDER"


def mask_our_settings() -> None:
    """Have Celery mask our settings, too; may be called any number of times."""
    celerys: Any = utils
    hidden: re.Pattern[str] = celerys.HIDDEN_SETTINGS
    if _OURS not in hidden.pattern:
        celerys.HIDDEN_SETTINGS = re.compile(f"{hidden.pattern}|{_OURS}", hidden.flags)
