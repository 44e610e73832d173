"""The requests of a locked task lie as those of any task do, however threads come and go."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from celery.utils.threads import _LocalStack as CelerysStack
from hypothesis import given
from hypothesis import strategies as st

from celery_redislock.task import request_stack
from celery_redislock.task.request_stack import RequestStack

#: What is done, and by which thread.
steps = st.lists(st.tuples(st.sampled_from(["push", "pop"]), st.integers(1, 3)))


def seen(stack: Any) -> tuple[Any, ...]:
    """Return all that is shown of a stack."""
    return stack.top, list(stack.stack), len(stack)


@given(steps)
def test_it_is_a_stack_of_each_thread_as_celerys_own(steps: list[tuple[str, int]]) -> None:
    thread = [0]
    ours, theirs = RequestStack(), CelerysStack()
    ours.__ident_func__ = theirs.__ident_func__ = lambda: thread[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(request_stack, "get_ident", lambda: thread[0])
        for number, (step, thread[0]) in enumerate(steps):
            request = SimpleNamespace(number=number)
            if step == "push":
                assert ours.push(request) == theirs.push(request)
            else:
                assert ours.pop() is theirs.pop()
            assert seen(ours) == seen(theirs)

    # Nothing is left of a thread that has taken its requests away.
    assert dict(ours._local) == dict(theirs._local)
