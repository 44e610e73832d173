"""Request stack: the requests of a task; when one is taken away, its run has ended."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from celery.utils.threads import _LocalStack as LocalStack
from celery.utils.threads import get_ident

from .run import ATTRIBUTE, finish


class RequestStack(LocalStack):  # type: ignore[type-arg]
    """The requests of a task; a run has ended, whatever has ended it, when its request is taken away.

    Celery calls no ``after_return`` after `Ignore`, `Reject`, ``sys.exit()`` and in a child that is
    terminated. But the request goes in all of these cases, after everything else.

    The requests lie where Celery's own stack has them, and are reached with one call in place of three: a
    run, ours or Celery's, asks for its request ten times.
    """

    def __init__(self) -> None:
        super().__init__()
        # Of `celery.utils.threads.Local`, since Celery 3: what each thread or greenlet has put there.
        self._places: dict[Any, dict[str, list[Any]]] = self._local.__storage__  # type: ignore[attr-defined]

    @property
    def top(self) -> Any:
        """The topmost request; None: there is none."""
        try:
            return self._places[get_ident()]["stack"][-1]
        except (KeyError, IndexError):
            return None

    def push(self, request: Any) -> list[Any]:
        """Put a request on top."""
        try:
            stack = self._places[get_ident()]["stack"]
        except KeyError:
            stack = []
            self._places[get_ident()] = {"stack": stack}
        stack.append(request)
        return stack

    def pop(self) -> Any:
        """Take the topmost request away, and give back what its run has not given back."""
        try:
            stack = self._places[get_ident()]["stack"]
        except KeyError:
            return None
        request = stack[-1]
        run = request.__dict__.get(ATTRIBUTE)
        if run is not None and not run.copies and not run.has_ended:
            # Before: a receiver of `lock_released` asks the task for its request.
            with suppress(Exception):  # as Celery does with what a receiver of a signal raises
                finish(request)
        if len(stack) > 1:
            stack.pop()
        else:
            del self._places[get_ident()]
        if run is None:
            return request
        if run.copies:
            run.copies -= 1
            return request
        # The run has the request: without this, both would wait for the garbage collector.
        del request.__dict__[ATTRIBUTE]
        return request
