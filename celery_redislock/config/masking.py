"""Concealed: what may hold a password of ours is masked where Celery masks its own settings.

``celery report``, ``inspect conf`` and Flower show ``app.conf.table()``. It masks each setting, and each
entry of a dict in one, of which the name matches ``HIDDEN_SETTINGS``: so far those in PASS, TOKEN or KEY.
The whole URL is masked, not its password alone: a worker's start says where the locks are.
"""

from __future__ import annotations

import re

from celery.app import utils

#: In any spelling: also ``CELERY_REDISLOCK_URL``. A provider may show its password in its repr.
_OURS = "REDISLOCK_URL|CREDENTIAL_PROVIDER"


def _with_ours(celerys: re.Pattern[str]) -> re.Pattern[str]:
    return re.compile(f"{celerys.pattern}|{_OURS}", celerys.flags)


utils.HIDDEN_SETTINGS = _with_ours(utils.HIDDEN_SETTINGS)  # type: ignore[attr-defined] # unknown to its stubs
