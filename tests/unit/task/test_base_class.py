"""A locked task is what a plain task of its app would be, and locked: whatever class it comes from."""

from __future__ import annotations

import pickle
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery, Task, shared_task
from celery.app.task import Context
from celery.worker.request import Request

from celery_redislock import ConfigurationError, LockedTask, locked_task
from celery_redislock.worker.request import LockedRequest

from ...support.applications import application, busy, locked

called: list[str] = []


@pytest.fixture(autouse=True)
def forget_calls() -> None:
    called.clear()


class Hooks:
    """Every hook of a task, each of which notes its call and passes it on."""

    max_retries = 7

    def before_start(self, *args: Any) -> None:
        called.append("before_start")
        super().before_start(*args)  # type: ignore[misc]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        called.append("__call__")
        return super().__call__(*args, **kwargs)  # type: ignore[misc]

    def on_success(self, *args: Any) -> None:
        called.append("on_success")
        assert getattr(self, "request_of_body", self.request) is self.request  # type: ignore[attr-defined]
        super().on_success(*args)  # type: ignore[misc]

    def after_return(self, *args: Any) -> None:
        called.append("after_return")
        super().after_return(*args)  # type: ignore[misc]

    def apply_async(self, *args: Any, **options: Any) -> Any:
        called.append("apply_async")
        return super().apply_async(*args, **options)  # type: ignore[misc]

    @classmethod
    def on_bound(cls, app: Celery) -> None:
        called.append("on_bound")
        super().on_bound(app)  # type: ignore[misc]


IN_ORDER = ["on_bound", "apply_async", "before_start", "__call__", "on_success", "after_return"]


class Company(Hooks, Task):
    """What all tasks of a company derive from."""

    abstract = True


class Forgetful(Task):
    """Passes nothing on, as Flask's documented task class does not."""

    abstract = True
    max_retries = 7

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        called.append("__call__")
        return self.run(*args, **kwargs)

    def before_start(self, *_: Any) -> None:
        called.append("before_start")

    def after_return(self, *_: Any) -> None:
        called.append("after_return")

    @classmethod
    def on_bound(cls, app: Celery) -> None:
        called.append("on_bound")


class LockedFirst(LockedTask, Company):
    abstract = True


class LockedLast(Company, LockedTask):
    abstract = True


class MixinFirst(Hooks, LockedTask):
    abstract = True


class MixinLast(LockedTask, Hooks):
    """In this order Celery never reaches the mixin of a plain task."""

    abstract = True


class ForgetfulFirst(Forgetful, LockedTask):
    abstract = True


class ForgetfulLast(LockedTask, Forgetful):
    abstract = True


def name_of_lock(self: Any, a: int) -> str:
    """Return the lock that its body sees; the request is that of the run, whatever class calls it."""
    assert self.request.id
    self.request_of_body = self.request
    return str(self.lock.name)


def body() -> None: ...


def assert_runs_locked(task: Any) -> None:
    """Run it; and meet its lock."""
    assert isinstance(task, LockedTask)
    assert task.apply((1,)).result == task.lock_name(1)
    with busy(task, 1):
        assert task.apply((1,)).state == "REVOKED"
    assert issubclass(task.Request, LockedRequest)


def test_the_check_tells_a_task_without_a_lock(app: Celery) -> None:
    task = app.task(base=Company, bind=True, shared=False, lock_args=["a"])(name_of_lock)

    with pytest.raises(AssertionError):
        assert_runs_locked(task)


# ---- classes of the user's own


@pytest.mark.parametrize("base", [LockedFirst, LockedLast, MixinFirst, MixinLast])
def test_hooks_of_all_bases_are_called_in_either_order(base: type, app: Celery) -> None:
    app.conf.task_always_eager = True
    task = locked(app, name_of_lock, bind=True, base=base)

    result = task.delay(1)

    assert result.result == task.lock_name(1)
    assert called == IN_ORDER
    assert task.max_retries == 7
    assert_runs_locked(task)


@pytest.mark.parametrize("base", [ForgetfulFirst, ForgetfulLast])
def test_hooks_that_pass_nothing_on_are_called_and_the_task_is_locked(base: type, app: Celery) -> None:
    task = locked(app, name_of_lock, bind=True, base=base)

    task.apply((1,))

    assert called == ["on_bound", "before_start", "__call__", "after_return"]
    assert_runs_locked(task)


def test_a_wrong_option_is_refused_also_where_a_base_does_not_pass_its_binding_on(app: Celery) -> None:
    with pytest.raises(ConfigurationError, match="lock_tll"):
        locked(app, name_of_lock, bind=True, base=ForgetfulFirst, lock_tll=5)


def test_a_base_between_two_tasks_keeps_its_hooks(app: Celery) -> None:
    class Between(LockedTask):
        abstract = True

    class Heir(Between, Company):
        abstract = True

    task = locked(app, name_of_lock, bind=True, base=Heir)

    task.apply((1,))

    assert called == [hook for hook in IN_ORDER if hook != "apply_async"]
    assert_runs_locked(task)


def test_a_base_that_is_a_task_already_hides_no_other(app: Celery) -> None:
    class First(LockedTask):
        name = "first"

        def run(self, a: int) -> None: ...

    class Second(First, Company):
        name = "second"
        run = name_of_lock

    app.register_task(First())
    task = app.register_task(Second())
    called.clear()

    task.apply((1,))

    assert called == IN_ORDER[2:]
    assert_runs_locked(task)


@pytest.mark.parametrize("base", [LockedTask, LockedFirst])
def test_a_body_that_calls_its_own_task_begins_a_call_of_its_own(base: type, app: Celery) -> None:
    def countdown(self: Any, n: int) -> list[int]:
        return [len(self.request_stack.stack), *(self(n - 1) if n else [])]

    task = locked(app, countdown, bind=True, base=base)

    assert [deeper - 1 for deeper in task.apply((2,)).result[1:]] == task.apply((2,)).result[:-1]


def test_a_body_has_one_request_as_that_of_a_plain_task_has(app: Celery) -> None:
    def depth(self: Any) -> int:
        return len(self.request_stack.stack)

    plain = app.task(depth, name="plain", bind=True, shared=False)
    task = locked(app, depth, bind=True)

    assert task.apply().result == plain.apply().result


def test_what_a_tool_has_put_in_place_of_celerys_own_call_is_called(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Celery itself does: tools that watch tasks wrap ``Task.__call__``."""
    of_celery = Task.__call__

    def watched(self: Any, *args: Any, **kwargs: Any) -> Any:
        called.append("watched")
        return of_celery(self, *args, **kwargs)

    monkeypatch.setattr(Task, "__call__", watched)
    task = locked(app, name_of_lock, name="t", bind=True)

    task.apply((1,))

    assert called == ["watched"]


class Retrying(Hooks):
    def on_retry(self, *args: Any) -> None:
        called.append("on_retry")

    def retry(self, *args: Any, **options: Any) -> Any:
        called.append("retry")
        return super().retry(*args, **options)  # type: ignore[misc]


@pytest.mark.parametrize("is_first", [True, False])
def test_a_retry_goes_through_all_bases_without_the_lock(
    is_first: bool, app: Celery, client: redis.Redis
) -> None:
    class Tasks(Retrying, Task):
        abstract = True

    bases = (LockedTask, Tasks) if is_first else (Tasks, LockedTask)

    def once_more(self: Any) -> int:
        if not self.request.retries:
            raise self.retry(countdown=0)
        return int(self.request.retries)

    task = locked(app, once_more, name="t", bind=True, base=type("Both", bases, {"abstract": True}))

    assert task.apply().result == 1
    assert called.count("retry") == called.count("on_retry") == 1
    assert not client.exists(task.lock_name())


def test_the_request_class_of_another_base_is_kept(app: Celery) -> None:
    class Own(Request):
        pass

    class Tasks(Task):
        abstract = True
        Request = Own

    for bases in ((LockedTask, Tasks), (Tasks, LockedTask)):
        both = type("Both", bases, {"abstract": True})
        task = locked(app, body, name=str(bases), base=both)
        assert issubclass(task.Request, LockedRequest)
        assert issubclass(task.Request, Own)


def test_abstract_methods_and_generic_mixins_go_on(app: Celery) -> None:
    class Exporter(ABC):
        @abstractmethod
        def export(self) -> str: ...

    class Export(LockedTask, Exporter):
        name = "export"

        def run(self) -> str:
            return self.export()

        def export(self) -> str:
            return "exported"

    assert Export.__bases__ == (LockedTask, Exporter)
    assert app.register_task(Export()).apply().result == "exported"


@pytest.mark.parametrize("name", ["lock", "plan_for"])
def test_a_base_that_hides_the_lock_is_refused(app: Celery, name: str) -> None:
    hiding = type("Tasks", (Task,), {"abstract": True, name: "of its own"})

    with pytest.raises(ConfigurationError, match=rf"Tasks.{name} hides the {name} of LockedTask"):
        locked(app, body, base=type("Both", (hiding, LockedTask), {"abstract": True}))


def test_a_lock_of_ones_own_that_knows_ours_is_left_alone(app: Celery) -> None:
    class Named(LockedTask):
        abstract = True

        def lock_name(self, *args: Any, **kwargs: Any) -> str:
            return super().lock_name(*args, **kwargs).upper()

    assert locked(app, body, name="t", base=Named).lock_name() == "REDISLOCK:T"


# ---- a base that is given


@pytest.mark.parametrize("base", [Company, f"{__name__}:Company", f"{__name__}.Company", Hooks, Forgetful])
def test_a_base_that_is_no_locked_task_is_combined(base: Any, app: Celery) -> None:
    task = locked_task(app=app, base=base, bind=True)(name_of_lock)

    task.apply((1,))

    assert "before_start" in called
    assert task.max_retries == 7
    assert_runs_locked(task)


def test_celerys_own_task_as_a_base_is_locked(app: Celery) -> None:
    assert_runs_locked(locked_task(app=app, base=Task, bind=True)(name_of_lock))


def test_two_tasks_of_one_base_are_of_one_class(app: Celery) -> None:
    tasks = [locked_task(app=app, base=Company, name=name)(body) for name in "ab"]

    assert tasks[0].__class__.__base__ is tasks[1].__class__.__base__


@pytest.mark.parametrize(
    ("base", "why"),
    [
        (5, "must be a class or its dotted path, not int"),
        ("no.such.module:Task", "'no.such.module:Task' of a locked task cannot be imported"),
        (f"{__name__}:called", "must be a class or its dotted path, not list"),
        (int, "cannot be combined into one class"),
    ],
)
def test_a_base_that_cannot_be_combined_is_refused(base: Any, why: str, app: Celery) -> None:
    locked_task(app=app, base=base, name="t")(body)

    with pytest.raises(ConfigurationError, match=why):
        app.finalize()


# ---- the task class of the app

Declare = Callable[[Celery, Any], Any]

DECLARED: dict[str, Declare] = {
    "locked_task of the app": lambda app, function: locked_task(app=app, bind=True)(function),
    "locked_task": lambda app, function: locked_task(bind=True)(function),
    "task of the app": lambda app, function: app.task(base=LockedTask, bind=True)(function),
    "shared_task": lambda app, function: shared_task(base=LockedTask, bind=True)(function),
    "no base at all": lambda app, function: locked_task(app=app, bind=True, base=None)(function),
}


@contextmanager
def app_of(task_cls: Any, redis_url: str, **settings: Any) -> Iterator[Celery]:
    app = Celery("of its class", task_cls=task_cls, broker="memory://", backend="cache+memory://")
    app.conf.update(redislock_url=redis_url, **settings)
    yield app
    app.close()


@pytest.mark.usefixtures("app", "client")
@pytest.mark.parametrize("task_cls", [Company, f"{__name__}:Company", LockedLast, LockedFirst])
@pytest.mark.parametrize("how", DECLARED)
def test_a_locked_task_is_of_the_apps_own_class(how: str, task_cls: Any, redis_url: str) -> None:
    with app_of(task_cls, redis_url, task_always_eager=True) as app:
        task = DECLARED[how](app, name_of_lock)
        assert isinstance(task, app.Task)
        called.clear()

        assert task.delay(1).result == task.lock_name(1)

        assert called == IN_ORDER[1:]
        assert task.max_retries == 7
        assert_runs_locked(task)


@pytest.mark.usefixtures("app", "client")
def test_an_app_of_locked_tasks_needs_no_decorator(redis_url: str) -> None:
    with app_of("celery_redislock:LockedTask", redis_url) as app:
        for task in (app.task(bind=True)(name_of_lock), locked_task(app=app)(body)):
            assert task.__class__.__base__ is app.Task
        assert_runs_locked(app.tasks[f"{__name__}.name_of_lock"])


context: ContextVar[str] = ContextVar("context")


def in_context_of(site: str) -> type:
    """Return the task class that Flask's documentation has, for this site."""

    class FlaskTask(Task):
        def __call__(self, *args: object, **kwargs: object) -> object:
            token = context.set(site)
            try:
                return self.run(*args, **kwargs)
            finally:
                context.reset(token)

    return FlaskTask


@pytest.mark.usefixtures("app", "client")
@pytest.mark.parametrize("options", [{}, {"base": LockedTask}])
@pytest.mark.parametrize("is_first", [True, False])
def test_a_shared_task_is_of_each_apps_own_class(options: Any, is_first: bool, redis_url: str) -> None:
    def where() -> str:
        return context.get("nowhere")

    # Celery gives it to every app that is alive yet.
    name = f"where {is_first} {options}"
    decorate = (shared_task if options else locked_task)(name=name, **options)
    if is_first:
        decorate(where)
    with app_of(in_context_of("one"), redis_url) as one, app_of(in_context_of("two"), redis_url) as two:
        one.finalize()
        if not is_first:
            decorate(where)
        with app_of(Task, redis_url) as plain:
            for site, app in (("one", one), ("two", two)):
                task = app.tasks[name]
                assert task.apply().result == site
                assert isinstance(task, LockedTask)
                assert isinstance(task, app.Task)
                with busy(task):
                    assert task.apply().state == "REVOKED"
            assert plain.tasks[name].apply().result == "nowhere"


def test_a_class_is_told_of_the_tasks_that_derive_from_it(redis_url: str, app: Celery) -> None:
    told: list[str] = []

    class Registry(Task):
        abstract = True

        def __init_subclass__(cls, **kwargs: Any) -> None:
            super().__init_subclass__(**kwargs)
            told.append(cls.__name__)

    with app_of(Registry, redis_url) as own:
        locked_task(app=own)(name_of_lock).name  # noqa: B018 - looked at, it is registered

    assert told[0] == "Task"
    assert told.count("name_of_lock") == 1


def test_a_task_of_two_classes_can_be_pickled(app: Celery) -> None:
    app.set_current()
    task = locked_task(app=app, base=Company, name="t", lazy=False)(name_of_lock)

    assert pickle.loads(pickle.dumps(task)) is task


DJANGO = """
import django
from django.conf import settings

settings.configure(DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}})
django.setup()

from celery import Celery, shared_task
from django.db import transaction

from celery_redislock import LockedTask, locked_task

app = Celery("site", broker="memory://", backend="cache+memory://")
app.conf.update(redislock_url=REDIS, task_always_eager=True)
ran = []


@locked_task
def one(a): ran.append(a)


@shared_task(base=LockedTask)
def two(a): ran.append(a)


@app.task(base=LockedTask)
def three(a): ran.append(a)


for task in one, two, three:
    assert isinstance(task, LockedTask), task
    with transaction.atomic():
        task.delay_on_commit(1)
        task.apply_async_on_commit((2,), lock={"ttl": 5})
        assert not ran
    assert ran == [1, 2], ran
    with task.lock_for(3):
        task.delay_on_commit(3)
    assert ran == [1, 2], ran
    ran.clear()
print("right")
"""


@pytest.mark.usefixtures("client")
def test_a_locked_task_of_django_is_published_on_commit(redis_url: str, tmp_path: Path) -> None:
    script = tmp_path / "site.py"
    script.write_text(DJANGO.replace("REDIS", repr(redis_url)))
    command = [sys.executable, str(script)]
    django = {"DJANGO_SETTINGS_MODULE": "django.conf.global_settings"}

    done = subprocess.run(command, env=django, capture_output=True, text=True, check=False, timeout=60)

    assert done.stdout == "right\n", done.stderr


def test_an_app_without_a_class_of_its_own_gives_its_own(app: Celery) -> None:
    other = application("redis://localhost/0")

    assert isinstance(locked(app, body), app.Task)
    assert isinstance(locked(other, body), other.Task)


class BindsPast:
    """Is registered as Celery's own tasks are, past what a locked task does then."""

    abstract = True

    @classmethod
    def bind(cls, app: Celery) -> Any:
        return Task.bind.__func__(cls, app)  # type: ignore[attr-defined]


@pytest.mark.parametrize("bases", [(LockedTask,), (Task,)], ids=["base", "company"])
def test_a_class_that_is_registered_past_ours_does_not_run_unlocked(bases: Any, app: Celery) -> None:
    base = type("Company", (BindsPast, *bases), {"abstract": True})
    task = locked_task(app=app, base=base, name="past", shared=False, lazy=False)(note_the_call)

    result = task.apply(("a",))

    assert isinstance(result.result, ConfigurationError)
    assert "BindsPast.bind does not call LockedTask.bind" in str(result.result)
    assert not called


def note_the_call(key: str) -> None:
    called.append(key)


def run_without_hooks(task: Any, *args: Any) -> Any:
    """Run a message as a class with a `Strategy` of its own may do it."""
    task.request_stack.push(Context(loglevel=None))
    try:
        return task(*args)
    finally:
        task.request_stack.pop()


def test_a_message_that_is_run_without_hooks_is_refused_and_its_body_does_not_run(app: Celery) -> None:
    bodies: list[int] = []
    task = locked(app, lambda number: bodies.append(number), name="t")

    with pytest.raises(ConfigurationError, match="'t' would run without its lock"):
        run_without_hooks(task, 1)

    assert bodies == []
    assert task(2) is task.apply((3,)).get() is None
    assert bodies == [2, 3]


@pytest.mark.parametrize(("mode", "said"), [("shadow", True), ("off", False)])
def test_without_a_lock_it_runs(mode: str, said: bool, app: Celery, caplog: pytest.LogCaptureFixture) -> None:
    bodies: list[int] = []
    task = locked(app, lambda number: bodies.append(number), name="t", lock_mode=mode)

    run_without_hooks(task, 1)

    assert bodies == [1]
    assert ("runs without its lock" in caplog.text) is said


def test_a_direct_call_may_call_its_own_task_directly(app: Celery) -> None:
    def countdown(self: Any, n: int) -> int:
        return 1 + self(n - 1) if n else 0

    task = locked(app, countdown, bind=True)

    assert task(3) == 3
    task.push_request(id="of a test")
    assert task(2) == 2
    task.pop_request()


def test_a_class_that_is_known_to_call_no_hooks_is_refused_when_it_is_registered(app: Celery) -> None:
    batches = type("Batches", (Task,), {"__module__": "celery_batches", "abstract": True})

    with pytest.raises(ConfigurationError, match=r"'t' cannot be locked: Batches of celery_batches "):
        locked(app, lambda requests: None, name="t", base=combine(batches))
    for mode in ("off", "shadow"):
        assert locked(app, lambda requests: None, name=mode, base=combine(batches), lock_mode=mode)


def combine(base: type) -> type:
    return type("Both", (LockedTask, base), {"abstract": True})
