"""Call: a message says which lock its call has, and never that of another call."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import redis
from celery import Celery, Task, chain
from celery.exceptions import Ignore

from celery_redislock import LockedTask, RedisLock
from celery_redislock.config.call import Call
from celery_redislock.config.provider import provider_of
from celery_redislock.messages.celery_exceptions import ComesAgain
from celery_redislock.messages.headers import NAME_HEADER, NAMED_HEADER, TICKET_HEADER
from celery_redislock.publish_lock.record import PublishLock

from ...support.applications import application, locked

OTHER_ID = "5b0c0000-0000-4000-8000-000000000000"


def body(self: Any, a: Any, b: int = 0) -> Any:
    return a


def work(app: Celery, **options: Any) -> Any:
    return locked(app, body, name="t", bind=True, **options)


def messages(app: Celery) -> list[dict[str, Any]]:
    """Take all messages from the queue, and return their headers."""
    found = []
    with app.connection_for_read() as connection, connection.SimpleQueue("celery") as queue:
        while queue.qsize():
            message = queue.get_nowait()
            message.ack()
            found.append(dict(message.headers))
    return found


def sent(app: Celery) -> dict[str, Any]:
    """Return the headers of the one message that waits."""
    (headers,) = messages(app)
    return headers


@pytest.fixture(autouse=True)
def _empty_queue(app: Celery) -> Iterator[None]:
    messages(app)
    yield
    messages(app)


class Running:
    """A run of a task, as the worker has it that got these headers."""

    def __init__(self, task: Any, headers: dict[str, Any], *args: Any) -> None:
        self.task, self.headers, self.args = task, headers, list(args)

    def __enter__(self) -> Any:
        facts = {
            **self.headers,
            "args": self.args,
            "kwargs": {},
            "delivery_info": {},
            "called_directly": False,
        }
        self.task.push_request(**facts)
        return self.task

    def __exit__(self, *_: object) -> None:
        self.task.pop_request()


def taken(task: Any, client: redis.Redis, headers: dict[str, Any], *args: Any) -> list[str]:
    """Return the locks that a run takes whose message has these headers."""
    with Running(task, headers, *args):
        task.before_start(headers["id"], args, {})
        names = [str(key.decode()) for key in client.keys("redislock:*")]
        task.after_return("SUCCESS", None, headers["id"], args, {}, None)
    return names


def in_parent(task: Any, headers: dict[str, Any], *args: Any) -> str:
    """Return the lock that the worker's parent knows of a message with these headers."""
    return Call.in_message(task, headers, args, {}).lock_name


# ---- what a message says


@pytest.mark.parametrize("scope", ["run", "queue", "task"])
@pytest.mark.parametrize(
    "options", [{}, {"lock_args": ["a"]}, {"lock_key": "k:{a}"}, {"lock_key": lambda a, b=0: f"called:{a}"}]
)
def test_a_message_carries_the_name_of_its_lock(app: Celery, scope: str, options: Any) -> None:
    task = work(app, lock_scope=scope, **options)

    for publish in (task.delay, task.s().delay, lambda *args: task.apply_async(args, task_id="mine")):
        publish(7)
        headers = sent(app)
        assert headers[NAME_HEADER] == task.lock_name(7)
        if scope != "run":
            assert headers[TICKET_HEADER]["lock"] == task.lock_name(7)
        PublishLock(provider_of(app).client, task.lock_name(7)).force_free()


def test_each_member_of_a_canvas_carries_its_own(app: Celery) -> None:
    task = work(app)

    chain(task.si(1), task.si(2)).apply_async()

    first = sent(app)
    assert first[NAME_HEADER] == task.lock_name(1)
    with Running(task, first, 1):
        task.s(2).apply_async()
    assert sent(app)[NAME_HEADER] == task.lock_name(2)


def test_a_call_that_has_no_name_here_is_sent_without_one(app: Celery) -> None:
    def key(a: Any, b: int = 0) -> str:
        raise LookupError("in the worker only")

    for options, argument in (({"lock_key": key}, 1), ({"serializer": "pickle"}, timedelta(1))):
        work(app, **options).delay(argument)
        assert not {NAME_HEADER, NAMED_HEADER} & sent(app).keys()
        del app.tasks["t"]


def test_no_name_is_sent_of_a_call_without_a_lock(app: Celery) -> None:
    work(app).apply_async((1,), lock={"mode": "off"})

    assert NAME_HEADER not in sent(app)


def test_a_publisher_needs_no_redis_to_name_a_lock(redis_url: str) -> None:
    with application(redis_url) as app:
        app.conf.update(redislock_url=None, redislock_prefix="mine:")
        app.conf.result_backend = "cache+memory://"

        work(app).delay(1)

        assert sent(app)[NAME_HEADER].startswith("mine:t:")


class OfTenant(Task):
    """A company's class, which sends more than it was given."""

    abstract = True

    def apply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        """Add who the call is for."""
        return super().apply_async(args, {**(kwargs or {}), "tenant": "acme"}, **options)


@pytest.mark.parametrize("scope", ["run", "task"])
@pytest.mark.parametrize("bases", [(LockedTask, OfTenant), (OfTenant, LockedTask)], ids=["first", "last"])
def test_a_call_is_named_by_what_is_sent(app: Celery, client: redis.Redis, bases: Any, scope: str) -> None:
    def function(a: int, tenant: str | None = None) -> None: ...

    both = type("Both", bases, {"abstract": True})
    task = locked(app, function, name="t", base=both, lock_scope=scope)
    task.delay(1)

    headers = sent(app)
    assert headers[NAME_HEADER] == task.lock_name(1, tenant="acme")
    assert taken(task, client, headers, 1) == [task.lock_name(1, tenant="acme")]
    assert not client.keys("redislock.reservation:*"), "the publish lock ends, whatever its name"


# ---- who goes by it


def test_a_run_takes_the_lock_that_its_message_names(app: Celery, client: redis.Redis) -> None:
    task = work(app)
    task.delay(1)
    headers = {**sent(app), NAME_HEADER: "redislock:of another version"}

    assert taken(task, client, headers, 1) == ["redislock:of another version"]
    assert in_parent(task, headers, 1) == "redislock:of another version"


def test_a_run_computes_no_name_that_its_message_has(app: Celery, client: redis.Redis) -> None:
    calls: list[Any] = []
    task = work(app, lock_key=lambda a, b=0: calls.append(a) or f"k:{a}")  # type: ignore[func-returns-value]
    task.delay(1)
    headers = sent(app)
    calls.clear()

    assert taken(task, client, headers, 1) == ["redislock:k:1"]
    assert calls == []


FOREIGN = {
    "another id": {"id": OTHER_ID},
    "another task": {NAMED_HEADER: "another.task {id}"},
    "no id": {NAMED_HEADER: ""},
    "another app's prefix": {NAME_HEADER: "theirs:t"},
    "the bare prefix": {NAME_HEADER: "redislock:"},
    "no text": {NAME_HEADER: ["redislock:t"]},
    "another kind of mark": {NAMED_HEADER: 7},
}


@pytest.mark.parametrize("case", FOREIGN)
def test_a_name_that_was_not_written_for_the_message_does_not_count(
    app: Celery, client: redis.Redis, case: str
) -> None:
    task = work(app)
    task.delay(2)
    headers = sent(app)
    changed = {
        name: value.format(**headers) if isinstance(value, str) else value
        for name, value in FOREIGN[case].items()
    }

    assert taken(task, client, {**headers, **changed}, 1) == [task.lock_name(1)]


def test_an_eager_call_has_a_name_of_its_own(app: Celery, client: redis.Redis) -> None:
    task = work(app)
    task.delay(1)
    seen: list[Any] = []

    def inner(self: Any, a: int) -> None:
        seen.extend(key.decode() for key in client.keys("redislock:*"))

    eager = locked(app, inner, name="eager", bind=True)
    eager.apply((2,), headers=sent(app))

    assert seen == [eager.lock_name(2)]


# ---- copied headers


def test_a_retry_keeps_its_name_and_one_with_other_arguments_has_another(app: Celery) -> None:
    task = work(app)
    task.delay(1)
    headers = {**sent(app), NAME_HEADER: "redislock:of another version"}

    with Running(task, headers, 1):
        task.retry(throw=False)
        assert sent(app)[NAME_HEADER] == "redislock:of another version"
        task.retry(args=(2,), throw=False)
        assert sent(app)[NAME_HEADER] == task.lock_name(2)
        task.retry(kwargs={"b": 2}, throw=False)
        assert sent(app)[NAME_HEADER] == task.lock_name(1, b=2)
        task.retry(lock={"key": "mine"}, throw=False)
        assert sent(app)[NAME_HEADER] == "redislock:mine"


def test_a_retry_of_what_the_body_has_changed_is_named_anew(app: Celery) -> None:
    task = work(app)
    task.delay([1])

    with Running(task, sent(app), [1]):
        task.request.args[0].append(2)
        task.retry(throw=False)

    assert sent(app)[NAME_HEADER] == task.lock_name([1, 2])


@pytest.mark.parametrize("argument", [1, [1]])
def test_what_comes_again_before_its_body_keeps_its_name(app: Celery, argument: Any) -> None:
    task = work(app, lock_on_conflict="retry")
    task.delay(argument)
    headers = {**sent(app), NAME_HEADER: "redislock:of another version"}

    with (
        Running(task, headers, argument),
        RedisLock(provider_of(app).client, "redislock:of another version"),
    ):
        task.before_start(headers["id"], (argument,), {})
        with pytest.raises(ComesAgain):
            task(argument)

    assert sent(app)[NAME_HEADER] == "redislock:of another version"


def test_a_wanted_run_keeps_its_name_whoever_publishes_it(app: Celery) -> None:
    task = work(app)
    task.delay([1])
    headers = {**sent(app), NAME_HEADER: "redislock:of another version", "redislock_pending": {"token": "t"}}

    task.apply_async(([1],), task_id=headers["id"], headers=headers)

    assert sent(app)[NAME_HEADER] == "redislock:of another version"


def test_headers_that_a_body_copies_name_no_lock_of_another_call(app: Celery) -> None:
    task, other = work(app), locked(app, lambda a: None, name="other")
    task.delay(1)

    with Running(task, sent(app), 1):
        copied = dict(task.request.headers)
        for call in (task, other):
            call.apply_async((2,), headers=copied)
            assert sent(app)[NAME_HEADER] == call.lock_name(2)
            call.apply_async((2,), headers=copied, task_id=task.request.id)
            assert sent(app)[NAME_HEADER] == call.lock_name(2)
        app.send_task("t", (2,), headers=copied)
        by_name = sent(app)
    assert in_parent(task, by_name, 2) == task.lock_name(2)


def test_a_replacement_has_a_name_of_its_own(app: Celery) -> None:
    task = work(app)
    task.delay(1)

    with Running(task, sent(app), 1), pytest.raises(Ignore):
        task.replace(task.si(2))

    assert sent(app)[NAME_HEADER] == task.lock_name(2)


def test_it_shows_no_argument(app: Celery) -> None:
    work(app).delay("s3cr3t")

    headers = sent(app)
    assert "s3cr3t" not in str({name: headers[name] for name in (NAME_HEADER, NAMED_HEADER)})
