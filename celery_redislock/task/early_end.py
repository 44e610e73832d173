"""Refusal: what ends a run before its body is raised where the body would begin.

Error monitors put themselves around the call of a task, and see nothing of what `before_start` raises.
"""

from __future__ import annotations

from typing import Any

_ATTRIBUTE = "redislock_refusal"


def keep(request: Any, error: Exception) -> None:
    """Keep an error until Celery calls the task, which it does next.

    Raises:
        Exception: The error itself, where Celery does not: somebody else has called `before_start`.
    """
    if request.called_directly:
        raise error
    if request.headers is None:
        # A copy of a request, which Celery makes for a direct call, would take the error for a header.
        request.headers = {}
    setattr(request, _ATTRIBUTE, error)


def tell(request: Any) -> None:
    """Raise what was kept, once.

    Raises:
        Exception: The run has ended before its body.
    """
    error: Exception | None = vars(request).pop(_ATTRIBUTE, None)
    if error is not None:
        raise error
