"""Early end: an error that ends a run before its body is raised where the body would begin.

Error monitors watch the call of a task, and do not see what `before_start` raises.
"""

from __future__ import annotations

from typing import Any

#: Of a request whose run ends before its body.
ATTRIBUTE = "redislock_refusal"


def keep(request: Any, error: Exception) -> None:
    """Keep an error until Celery calls the task, which it does next.

    Raises:
        Exception: The error itself, where something else than Celery has called `before_start`.
    """
    if request.called_directly:
        raise error
    if request.headers is None:
        # Celery copies a request for a direct call; without headers the copy would take the error for one.
        request.headers = {}
    setattr(request, ATTRIBUTE, error)


def raise_kept(request: Any) -> None:
    """Raise the error that was kept, once.

    Raises:
        Exception: The run has ended before its body.
    """
    raise request.__dict__.pop(ATTRIBUTE)
