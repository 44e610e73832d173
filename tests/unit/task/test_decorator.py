"""locked_task: with and without an app, with and without options."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery, Task, current_app

from celery_redislock import ConfigurationError, LockedTask, locked_task
from celery_redislock.config.options import OPTIONS

from ...support.applications import busy


@pytest.fixture
def current(app: Celery) -> Iterator[Celery]:
    """Give the app to tasks that belong to none.

    Celery gives those to every app that is alive, so their names must differ.
    """
    before = current_app._get_current_object()
    app.set_current()
    yield app
    before.set_current()


def test_a_function_becomes_a_locked_task_of_whichever_app_is_current(current: Celery) -> None:
    @locked_task
    def bare(a: int) -> int:
        """Give it back."""
        return a

    assert isinstance(bare, LockedTask)
    assert bare.app is current
    assert bare.__doc__ == "Give it back."
    assert bare.apply((1,)).result == 1
    with busy(bare, 1):
        assert bare.apply((1,)).state == "REVOKED"


def test_options_make_a_decorator(current: Celery) -> None:
    @locked_task(lock_key="import:{path}", lock_ttl=5, bind=True, name="with_options", max_retries=7)
    def with_options(self: Any, path: str) -> Any:
        return self.lock.name

    assert (with_options.name, with_options.max_retries) == ("with_options", 7)
    assert with_options.apply(("a",)).result == "redislock:import:a"


def test_an_app_owns_its_task(app: Celery) -> None:
    @locked_task(app=app, lock_args=(), name="t")
    def function(a: int) -> None: ...

    assert app.tasks["t"].lock_name(1) == "redislock:t"
    assert isinstance(app.tasks["t"], LockedTask)


def test_a_base_of_the_users_own_is_kept(app: Celery) -> None:
    class Own(LockedTask):
        abstract = True
        lock_ttl = 7

    @locked_task(app=app, base=Own, name="t")
    def function() -> None: ...

    assert isinstance(app.tasks["t"], Own)


def test_empty_parentheses_are_no_options(current: Celery) -> None:
    @locked_task()
    def parenthesised() -> str:
        return "ran"

    assert isinstance(parenthesised, LockedTask)
    assert parenthesised.apply().result == "ran"


def test_a_wrong_option_is_refused_when_the_app_is_finalized(app: Celery) -> None:
    @locked_task(app=app, lock_args=["b"], name="t")
    def function(a: int) -> None: ...

    with pytest.raises(ConfigurationError, match="no argument 'b'; its arguments are: a"):
        app.finalize()


@pytest.mark.parametrize("word", sorted(OPTIONS.keys() - {"shared"}))
def test_an_option_without_its_prefix_is_refused_with_the_right_word(word: str, app: Celery) -> None:
    @locked_task(app=app, name="t", **{word: OPTIONS[word].default})
    def declared() -> None: ...

    with pytest.raises(ConfigurationError, match=rf"^{word} of task 't' .*did you mean 'lock_{word}'"):
        app.finalize()

    with pytest.raises(ConfigurationError, match=f"^{word} of task 'u'"):

        @app.task(base=LockedTask, name="u", **{word: 1})
        def function() -> None: ...


@pytest.mark.parametrize("option", ["redislock_ttl", "LOCK_TTL", "Lock_ttl", "REDISLOCK_TTL"])
def test_an_option_with_another_prefix_is_refused_with_the_right_word(option: str, app: Celery) -> None:
    with pytest.raises(ConfigurationError, match=rf"^{option} of task 't' .*did you mean 'lock_ttl'"):

        @locked_task(app=app, name="t", lazy=False, **{option: 5})
        def declared() -> None: ...


def test_the_lock_of_a_call_is_refused_on_a_task(app: Celery) -> None:
    with pytest.raises(ConfigurationError, match=r"^lock of task 't' .*lock_ttl"):

        @locked_task(app=app, name="t", lazy=False, lock={"ttl": 5})
        def declared() -> None: ...


def test_a_key_that_is_a_method_is_refused_and_a_static_one_is_not(app: Celery) -> None:
    class Method(LockedTask):
        name = "method"

        def lock_key(self, path: str) -> str:
            return path

        def run(self, path: str) -> None: ...

    class Static(Method):
        name = "static"

        @staticmethod
        def lock_key(path: str) -> str:
            return path

    with pytest.raises(ConfigurationError, match=r"lock_key of task 'method' is a method.*@staticmethod"):
        app.register_task(Method())
    assert app.register_task(Static()).lock_name("a") == "redislock:a"


def test_options_of_celery_and_words_of_nobody_or_of_the_users_own_classes_go_on(app: Celery) -> None:
    class Company(Task):
        abstract = True
        mode = "of the company"

    celerys = {
        "max_retries": 7,
        "rate_limit": "5/s",
        "serializer": "json",
        "retry_backoff": True,
        "expires": 9,
    }

    @locked_task(app=app, base=Company, mode="x", retries="of nobody", name="t", **celerys)
    def function() -> None: ...

    assert (function.mode, function.retries) == ("x", "of nobody")
    celerys_words = {*dir(Task), "bind", "base", "shared", "filter", "lazy", "pydantic"}
    # Of `shared` the page of the options warns: who forgets the prefix has a lock that one run holds alone.
    assert OPTIONS.keys() & celerys_words == {"shared"}


def test_a_wrong_option_is_refused_at_once_when_registration_is_not_lazy(app: Celery) -> None:
    with pytest.raises(ConfigurationError, match="lock_tll"):

        @locked_task(app=app, lock_tll=5, lazy=False)
        def function(a: int) -> None: ...


def test_the_functions_own_call_is_left_alone(app: Celery) -> None:
    @locked_task(app=app)
    def function(a: int, *, b: int = 2) -> int:
        return a + b

    assert function(1, b=3) == 4
    assert function.s(1).name == function.name
