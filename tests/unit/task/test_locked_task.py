"""LockedTask: its options when it is registered, its names, its hooks and the options of a call."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
import redis
from celery import Celery, Task
from celery.exceptions import Ignore, Reject
from celery.worker.request import Request
from kombu.exceptions import EncodeError

from celery_redislock import ConfigurationError, LockBusy, LockedTask, LockKeyError
from celery_redislock.config.options import OPTIONS
from celery_redislock.messages.headers import NAME_HEADER, NAMED_HEADER
from celery_redislock.worker.request import LockedRequest

from ...support.applications import application, busy, locked


def body(path: str, other: int = 0) -> tuple[str, int]:
    return path, other


# ---- options at registration

WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "unknown option": (
        {"lock_tll": 5},
        r"lock_tll of task 't' is not a lock option.*did you mean 'lock_ttl'",
    ),
    "plural": ({"lock_arg": ["path"]}, r"lock_arg .*did you mean 'lock_args'"),
    "method for an option": ({"lock_name": "a"}, r"lock_name .*did you mean 'lock_key'"),
    "no such argument": ({"lock_args": ["pth"]}, r"'t'.*no argument 'pth'.*path, other"),
    "no such argument in the key": ({"lock_key": "x:{pth}"}, r"'t'.*no argument 'pth'.*path, other"),
    "a name instead of names": ({"lock_args": "path"}, r"lock_args of task 't' must be a list"),
    "key and args": ({"lock_args": (), "lock_key": "a"}, r"lock_key .*lock_args .*contradict"),
    "broken template": ({"lock_key": "a:{path"}, r"lock_key is not a template"),
    "private field": ({"lock_key": "a:{path.__class__}"}, r"names that begin with an underscore are private"),
    "format spec": ({"lock_key": "a:{path:>9}"}, r"conversions .*or format specs"),
    "empty key": ({"lock_key": ""}, r"lock_key of task 't' must be a name or template"),
    "ttl of zero": ({"lock_ttl": 0}, r"lock_ttl of task 't'"),
    "ttl of text": ({"lock_ttl": "30"}, r"lock_ttl of task 't' .*not a str.*float\(\)"),
    "ttl of truth": ({"lock_ttl": True}, r"lock_ttl of task 't'"),
    "ttl without end": ({"lock_ttl": float("inf")}, r"lock_ttl of task 't'"),
    "negative wait": ({"lock_wait": -1}, r"lock_wait of task 't'"),
    "unknown policy": (
        {"lock_on_conflict": "wait"},
        r'lock_on_conflict .*"fail", "coalesce", "replace" or a call',
    ),
    "policy of none": ({"lock_on_conflict": None}, r"lock_on_conflict of task 't' must be"),
    "one delay": ({"lock_retry_delay": 5}, r"lock_retry_delay .*a pair of durations \(first, largest\)"),
    "delays turned round": ({"lock_retry_delay": (9, 1)}, r"lock_retry_delay .*first delay must not exceed"),
    "retry_for without retry": (
        {"lock_retry_for": 5, "lock_on_conflict": "skip"},
        r"lock_retry_for .*skip|ret",
    ),
    "hold turned round": ({"lock_min_hold": 9, "lock_max_hold": 1}, r"lock_min_hold .*must not exceed"),
    "unknown mode": ({"lock_mode": "maybe"}, r'lock_mode of task \'t\' must be "on", "shadow", "off"'),
    "mode of truth": ({"lock_mode": False}, r"lock_mode of task 't' must be .*not bool"),
}


@pytest.mark.parametrize("fault", WRONG)
def test_a_wrong_option_is_refused_when_the_task_is_registered(app: Celery, fault: str) -> None:
    options, message = WRONG[fault]

    with pytest.raises(ConfigurationError, match=message):
        locked(app, body, name="t", **options)


@pytest.mark.parametrize("fault", WRONG)
def test_a_wrong_option_of_a_lazy_task_is_refused_at_the_latest_when_the_app_is_finalized(
    app: Celery, fault: str
) -> None:
    options, message = WRONG[fault]
    locked(app, body, name="t", lazy=True, **options)

    with pytest.raises(ConfigurationError, match=message):
        app.finalize()


def test_a_wrong_option_of_a_class_is_refused_when_it_is_registered(app: Celery) -> None:
    class Wrong(LockedTask):
        name = "t"
        lock_args = ("pth",)

        def run(self, path: str) -> None: ...

    with pytest.raises(ConfigurationError, match="no argument 'pth'"):
        app.register_task(Wrong())


def test_a_wrong_setting_is_refused_when_a_task_is_registered(app: Celery) -> None:
    app.conf.redislock_ttl = "soon"

    with pytest.raises(ConfigurationError, match="redislock_ttl setting"):
        locked(app, body)


def test_an_unknown_setting_is_refused_at_the_first_use(app: Celery) -> None:
    app.conf.redislock_tll = 5
    task = locked(app, body)

    with pytest.raises(ConfigurationError, match=r"redislock_tll .*did you mean 'redislock_ttl'"):
        task.lock_name("a")


def test_every_option_is_taken_as_option_setting_and_word_of_a_call(app: Celery) -> None:
    values: dict[str, Any] = {
        "args": ["path"],
        "key": "k",
        "ttl": 3,
        "wait": 1,
        "on_conflict": "retry",
        "retry_delay": (1, 2),
        "retry_for": 9,
        "min_hold": 0.1,
        "max_hold": 9,
        "mode": "on",
        "on_lost": "continue",
        "on_error": "fail",
        "min_replicas": 0,
        "scope": "task",
        "queue_ttl": 60,
        "keep": "first",
        "replace_after": 1,
        "shared": True,
        "limit": 2,
    }
    assert set(values) == set(OPTIONS)
    for name, value in values.items():
        readers = {"retry_for": "retry", "keep": "coalesce", "replace_after": "replace"}
        reader = {"on_conflict": readers[name]} if name in readers else {}
        beside = {f"lock_{option}": policy for option, policy in reader.items()}
        task = locked(app, body, name=f"option.{name}", **{f"lock_{name}": value, **beside})
        app.conf[f"redislock_{name}"] = value
        locked(app, body, name=f"setting.{name}")
        app.conf[f"redislock_{name}"] = None
        assert task.apply(("a",), lock={name: value, **reader}).result == ("a", 0)


def test_annotations_of_the_app_set_options(app: Celery) -> None:
    app.conf.task_annotations = {"t": {"lock_args": ()}}

    assert locked(app, body, name="t").lock_name("a") == "redislock:t"


def test_a_single_expected_error_stays_one(app: Celery) -> None:
    """Celery takes a class where it asks for a tuple."""
    task = locked(app, body, throws=KeyError)

    assert set(task.throws) == {KeyError, LockBusy}


# ---- names


def test_calls_that_mean_the_same_have_one_name(app: Celery) -> None:
    task = locked(app, body, name="t")

    names = {
        task.lock_name("a"),
        task.lock_name(path="a"),
        task.lock_name("a", 0),
        task.lock_name("a", other=0),
        task.lock_name(other=0, path="a"),
    }

    assert len(names) == 1
    assert names.pop().startswith("redislock:t:")


def test_values_of_different_types_have_different_names(app: Celery) -> None:
    task = locked(app, body, name="t")

    assert len({task.lock_name(value) for value in (1, "1", True, 1.0, None, "None", [1], {"1": 1})}) == 8


def test_a_bound_task_has_the_name_that_it_would_have_unbound(app: Celery) -> None:
    def bound(self: Any, path: str, other: int = 0) -> None: ...

    names = {
        locked(app, body, name="t").lock_name("a"),
        locked(application("redis://localhost/0"), bound, name="t", bind=True).lock_name("a"),
    }

    assert len(names) == 1


def test_keyword_only_arguments_and_those_without_a_name_count(app: Celery) -> None:
    def function(a: int, *rest: int, named: int, **others: int) -> None: ...

    task = locked(app, function, name="t")

    calls = [
        task.lock_name(1, named=2),
        task.lock_name(1, 2, named=2),
        task.lock_name(1, named=3),
        task.lock_name(1, named=2, more=3),
    ]
    assert len(set(calls)) == 4
    assert calls[0] == task.lock_name(named=2, a=1)


def test_an_argument_that_a_call_leaves_out_counts_with_its_default(app: Celery) -> None:
    task = locked(app, body, name="t", lock_args=["other"])

    assert task.lock_name("a") == task.lock_name("b", 0) != task.lock_name("a", 1)
    assert task.apply(("a",)).result == ("a", 0)


def test_autoretry_does_not_change_the_name(app: Celery) -> None:
    name = locked(app, body, name="t").lock_name("a", 0)
    other = application("redis://localhost/0")

    assert locked(other, body, name="t", autoretry_for=(KeyError,)).lock_name(path="a") == name


def test_a_call_that_does_not_fit_raises_what_the_function_would(app: Celery) -> None:
    task = locked(app, body, name="t")

    for call in (task.lock_name, task.lock_for):
        with pytest.raises(TypeError, match="missing a required argument: 'path'"):
            call(other=1)


def test_an_argument_without_a_canonical_form_is_named_without_its_value(app: Celery) -> None:
    class Secret:
        def __repr__(self) -> str:
            return "S3cretValue"

    result = locked(app, body, name="t").apply((Secret(),))

    assert isinstance(result.result, LockKeyError)
    assert "argument 'path' (a " in str(result.result)
    assert "Secret) cannot be part of a lock's name" in str(result.result)
    assert "S3cretValue" not in str(result.result)


def test_tasks_that_are_classes_without_a_name_have_locks_of_their_own(app: Celery) -> None:
    """Celery names their instances, not the classes."""

    class First(LockedTask):
        def run(self, a: int) -> str:
            return self.lock.name

    class Second(LockedTask):
        def run(self, a: int) -> str:
            return self.lock.name

    tasks = [app.register_task(First()), app.register_task(Second())]

    names = [task.lock_name(1) for task in tasks]
    assert names[0].startswith(f"redislock:{__name__}.First:")
    assert names[1].startswith(f"redislock:{__name__}.Second:")
    assert [task.apply((1,)).result for task in tasks] == names


def test_two_apps_in_one_process_have_their_own_prefix_and_database(
    redis_url: str, client: redis.Redis
) -> None:
    here = application(redis_url, redislock_prefix="here:")
    there = application(redis_url.removesuffix("/0") + "/5", redislock_prefix="there:")
    first, second = (locked(app, body, name="t") for app in (here, there))
    fifth = redis.Redis.from_url(redis_url.removesuffix("/0") + "/5")

    with busy(first, "a") as lock_here, busy(second, "a") as lock_there:
        assert lock_here.name.startswith("here:t:")
        assert lock_there.name.startswith("there:t:")
        assert client.exists(lock_here.name)
        assert not client.exists(lock_there.name)
        assert fifth.exists(lock_there.name)
        assert first.apply(("a",)).state == "REVOKED"
        assert second.apply(("b",)).state == "SUCCESS"
    fifth.close()


def test_settings_in_the_style_of_django_are_read(redis_url: str, client: redis.Redis) -> None:
    class Settings:
        CELERY_REDISLOCK_TTL = 100
        CELERY_REDISLOCK_URL = redis_url
        CELERY_REDISLOCK_PREFIX = "django:"
        CELERY_BROKER_URL = "memory://"
        CELERY_RESULT_BACKEND = "cache+memory://"

    app = Celery("django", set_as_current=False)
    app.config_from_object(Settings, namespace="CELERY")
    task = locked(app, body, name="t")

    with busy(task, "a") as lock:
        assert lock.name.startswith("django:t:")
        assert 90_000 < client.pttl(lock.name) <= 100_000


@pytest.mark.parametrize("setting", ["result_backend", "broker_url"])
def test_the_locks_are_kept_where_celery_is(setting: str, redis_url: str, client: redis.Redis) -> None:
    app = Celery("default", broker="memory://", backend="cache+memory://", set_as_current=False)
    app.conf[setting] = redis_url

    with busy(locked(app, body), "a") as lock:
        assert client.exists(lock.name)


def test_without_any_redis_the_first_use_says_what_to_set() -> None:
    app = Celery("nowhere", broker="memory://", backend="cache+memory://", set_as_current=False)
    task = locked(app, body)

    with pytest.raises(ConfigurationError, match="set redislock_url"):
        task.lock_for("a")


# ---- hooks


def nothing(*_: Any, **__: Any) -> None: ...


class Forgetful(LockedTask):
    abstract = True
    before_start = nothing
    after_return = nothing


class Mixin:
    before_start = nothing
    after_return = nothing


class Mixed(Mixin, LockedTask):
    abstract = True


class Dutiful(LockedTask):
    abstract = True

    def before_start(self, *args: Any) -> None:
        super().before_start(*args)

    def after_return(self, *args: Any) -> None:
        super().after_return(*args)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return super().__call__(*args, **kwargs)


class Heir(Dutiful):
    abstract = True
    before_start = nothing
    after_return = nothing


HOOKED: dict[str, dict[str, Any]] = {
    "subclass": {"base": Forgetful},
    "mixin": {"base": Mixed},
    "super": {"base": Dutiful},
    "heir": {"base": Heir},
    "options": {"before_start": nothing, "after_return": nothing},
}


@pytest.mark.parametrize("where", HOOKED)
def test_hooks_that_forget_super_run_locked_and_release(where: str, app: Celery, client: redis.Redis) -> None:
    def function(self: Any, a: int) -> tuple[str, bool]:
        return self.lock.name, bool(client.exists(self.lock.name))

    task = locked(app, function, name="t", bind=True, **HOOKED[where])

    assert task.apply((1,)).result == (task.lock_name(1), True)
    assert not client.exists(task.lock_name(1))
    with busy(task, 1):
        assert task.apply((1,)).state == "REVOKED"


@pytest.mark.parametrize("hook", ["before_start", "after_return"])
def test_hooks_that_come_by_annotation_run_locked_and_release(
    hook: str, app: Celery, client: redis.Redis
) -> None:
    called: list[str] = []
    app.conf.task_annotations = {"*": {hook: lambda self, *_: called.append(hook)}}
    task = locked(app, lambda: bool(client.exists("redislock:t")), name="t")

    assert task.apply().result is True
    assert called == [hook]
    assert not client.exists("redislock:t")
    with busy(task):
        assert task.apply().state == "REVOKED"


def test_hooks_are_called_with_the_lock_held(app: Celery, client: redis.Redis) -> None:
    seen: list[Any] = []

    class Watching(LockedTask):
        abstract = True

        def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
            seen.append(self.lock.name)

        def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
            seen.append(bool(client.exists(self.lock.name)))

        def after_return(self, status: str, *_: Any) -> None:
            seen.append(bool(client.exists(self.lock.name)))

    task = locked(app, lambda: None, name="t", base=Watching)

    task.apply()

    assert seen == ["redislock:t", True, True]
    assert not client.exists("redislock:t")


def test_an_error_in_a_hook_does_not_keep_the_lock(app: Celery, client: redis.Redis) -> None:
    def broken(self: Any, *_: Any) -> None:
        raise RuntimeError("of the user's own")

    for hook in ("before_start", "after_return"):
        task = locked(app, lambda: None, name=hook, **{hook: broken})
        with suppress(RuntimeError):  # what Celery makes of it differs from version to version
            task.apply()
        assert not client.exists(f"redislock:{hook}")


@pytest.mark.parametrize("request_class", [Request, "celery.worker.request:Request", LockedRequest])
def test_a_request_class_of_the_tasks_own_gets_what_ours_adds(app: Celery, request_class: Any) -> None:
    class Own(LockedTask):
        abstract = True
        Request = request_class

    found = locked(app, lambda: None, base=Own).Request

    assert issubclass(found, LockedRequest)
    assert issubclass(found, Request)


def test_a_request_class_that_overrides_keeps_its_own_methods(app: Celery) -> None:
    class Special(Request):
        def special(self) -> str:
            return "own"

        def on_failure(self, *args: Any, **kwargs: Any) -> str:
            return "own"

    task = locked(app, lambda: None, Request=Special)

    assert task.Request.special is Special.special
    assert [each for each in task.Request.__mro__ if each in (LockedRequest, Special)] == [
        LockedRequest,
        Special,
    ]


@pytest.mark.parametrize("error", [Ignore(), Reject(requeue=False), ValueError(), None])
def test_an_eager_call_releases_however_it_ends(app: Celery, client: redis.Redis, error: Any) -> None:
    def function() -> bool:
        if error is not None:
            raise error
        return bool(client.exists("redislock:t"))

    task = locked(app, function, name="t")

    assert task.apply().result is not False
    assert not client.exists("redislock:t")


def test_an_eager_call_that_exits_releases(app: Celery, client: redis.Redis) -> None:
    def function() -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        locked(app, function, name="t").apply()

    assert not client.exists("redislock:t")


def test_a_loser_frees_nothing_in_an_eager_call(app: Celery, client: redis.Redis) -> None:
    for policy in ("skip", "fail"):
        task = locked(app, lambda: None, name=policy, lock_on_conflict=policy)
        with busy(task) as lock:
            for _ in range(3):
                task.apply()
                assert lock.owned()


# ---- Celery(task_cls=...)


def test_locked_task_can_be_the_task_class_of_an_app(redis_url: str, client: redis.Redis) -> None:
    app = Celery(
        "app",
        broker="memory://",
        backend="cache+memory://",
        task_cls="celery_redislock:LockedTask",
        set_as_current=False,
    )
    app.conf.redislock_url = redis_url
    app.finalize()

    task = app.task(body, name="t", lazy=False, shared=False)

    with busy(task, "a"):
        assert task.apply(("a",)).state == "REVOKED"


def test_celerys_own_tasks_are_not_locked(redis_url: str, client: redis.Redis) -> None:
    """A chord whose unlocking was skipped would never end."""
    app = Celery("app", broker="memory://", backend="cache+memory://", set_as_current=False)
    app.task_cls = "celery_redislock:LockedTask"
    app.conf.redislock_url = redis_url
    app.finalize()
    own = [task for name, task in app.tasks.items() if name.startswith("celery.")]

    assert own
    assert all(isinstance(task, LockedTask) for task in own)
    for task in own:
        assert task.plan_for().options.mode == "off"


# ---- the options of a call


WRONG_CALLS: dict[str, tuple[Any, str]] = {
    "no dict": ("ttl", r"lock= of a call of task 't' must be a dict of options"),
    "unknown": ({"tll": 5}, r'lock=\{"tll": .*did you mean \'ttl\''),
    "long name": ({"lock_ttl": 5}, r'lock=\{"lock_ttl": .*did you mean \'ttl\''),
    "wrong value": ({"ttl": 0}, r'lock=\{"ttl": ...\} of a call of task \'t\''),
    "no such argument": ({"args": ["pth"]}, r"no argument 'pth'"),
    "key and args": ({"key": "a", "args": ()}, r"contradict each other"),
    "callable key": (
        {"key": lambda path: path},
        r"lock=\{'key': ...\} .*is sent in the message.*not function",
    ),
    "callable policy": (
        {"on_conflict": print},
        r"lock=\{'on_conflict': ...\} .*is sent in the message.*not builtin",
    ),
}


@pytest.mark.parametrize("fault", WRONG_CALLS)
@pytest.mark.parametrize("how", ["apply_async", "apply", "signature"])
def test_a_wrong_option_of_a_call_is_refused_where_it_is_made(app: Celery, fault: str, how: str) -> None:
    ran: list[str] = []
    lock, message = WRONG_CALLS[fault]
    task = locked(app, lambda path: ran.append(path), name="t")
    calls: dict[str, Callable[[], Any]] = {
        "apply_async": lambda: task.apply_async(("a",), lock=lock),
        "apply": lambda: task.apply(("a",), lock=lock),
        "signature": lambda: task.s("a").set(lock=lock).apply_async(),
    }

    with pytest.raises(ConfigurationError, match=message):
        calls[how]()

    assert ran == []


def test_the_options_of_a_call_leave_headers_of_the_users_own(app: Celery, monkeypatch: Any) -> None:
    sent: list[Any] = []
    monkeypatch.setattr(Task, "apply_async", lambda self, args, kwargs, **options: sent.append(options))
    task = locked(app, body)
    headers = {"tenant": "seven"}

    task.apply_async(("a",), headers=headers, lock={"ttl": timedelta(seconds=2), "retry_delay": (1, 2)})
    task.apply_async(("a",), headers=headers)

    assert (
        sent[0]["headers"].items()
        >= {"tenant": "seven", "redislock": {"ttl": 2.0, "retry_delay": [1, 2]}}.items()
    )
    assert sent[1]["headers"].keys() == {"tenant", NAME_HEADER, NAMED_HEADER}
    assert headers == {"tenant": "seven"}
    assert "lock" not in sent[0]


def test_a_publication_that_fails_leaves_nothing(app: Celery, client: redis.Redis) -> None:
    task = locked(app, body, lock_args=())

    with pytest.raises(EncodeError):
        task.apply_async((object(),), lock={"ttl": 5})

    assert client.keys() == []


@pytest.mark.parametrize("always", [False, True], ids=["apply", "task_always_eager"])
def test_an_eager_call_takes_the_options_of_the_call(always: bool, app: Celery, client: redis.Redis) -> None:
    app.conf.task_always_eager = always
    task = locked(app, lambda: int(client.pttl("redislock:mine")), name="t")
    call = task.apply_async if always else task.apply

    result = call(lock={"key": "mine", "ttl": 100})

    assert 31_000 < result.result <= 100_000
    assert not client.exists("redislock:mine")


def test_the_options_of_an_eager_call_hold_for_its_retries(app: Celery, client: redis.Redis) -> None:
    seen: list[bool] = []

    def function(self: Any) -> None:
        seen.append(bool(client.exists("redislock:mine")))
        if self.request.retries < 2:
            raise self.retry(countdown=0)

    locked(app, function, name="t", bind=True).apply(lock={"key": "mine"})

    assert seen == [True] * 3


# ---- names and defaults


def test_a_run_that_changes_a_default_changes_no_name(app: Celery) -> None:
    def load(name: str, seen: list[str] = []) -> int:  # noqa: B006
        seen.append(name)
        return len(seen)

    task = locked(app, load, name="load")
    before = task.lock_name("a")
    # Before the options of a call are looked at for the first time.
    assert task("a") == 1
    assert task.apply(("a",)).get() == 2
    assert task.lock_name("a") == before
    assert task.plan_for({"args": ["name", "seen"]}).naming.name(("a",), {}) == (
        task.plan_for({"args": ["name"]}).naming.name(("a",), {})
    )
