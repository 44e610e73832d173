"""Use 3: a cache is refreshed without a stampede: many callers, one computation.

All callers of a missing report wait for the one that computes it, then find it in the cache:
that is why the body looks again after it got the lock.
"""

from __future__ import annotations

import json
from typing import Any

from celery_redislock import locked_task

from . import pace, store

#: Seconds for which a report stays in the cache.
FRESH_FOR = 60


@locked_task(bind=True, lock_key="report:{name}", lock_wait=30, lock_on_conflict="retry")
def cached_report(self: Any, name: str) -> dict[str, str]:
    """Return the report from the cache, computed first when it is not there."""
    key = store.key(f"report:{name}")
    with store.connect() as cache:
        cached = cache.get(key)
        if cached is not None:
            return dict(json.loads(str(cached)))
        report = compute_report(name, self.request.id)
        cache.set(key, json.dumps(report), ex=FRESH_FOR)
        return report


def compute_report(name: str, run: str) -> dict[str, str]:
    """Compute the report; this is what costs the time."""
    pace.slow_part(0.5)
    return {"name": name, "computed_by": run}
