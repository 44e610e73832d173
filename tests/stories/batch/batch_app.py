"""The application of the batches' workers: ordinary tasks that do what they are told and write it down."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

from celery import Celery, chain, chord, group
from celery.app.task import Task
from celery.utils.log import get_task_logger

from celery_redislock import LockedTask, locked_batch
from celery_redislock.signals import lock_lost

from ...mutants import batches as wrong_batches  # noqa: F401 - a worker may be told to be wrong
from ...support.stores import STORE
from ..run.steps import Failure, journal

app = Celery("tests.stories.batch", set_as_current=False)


def configure(store: str, **settings: Any) -> None:
    """Say where everything is: database 0 has the locks, 1 the messages, 2 the results."""
    app.conf.update(
        {
            "broker_url": f"{store}/1",
            "result_backend": f"{store}/2",
            "redislock_url": f"{store}/0",
            "redislock_retry_delay": (0.05, 0.3),
            "broker_connection_retry_on_startup": True,
            "worker_prefetch_multiplier": 1,
            "task_allow_error_cb_on_chord_header": True,
            "result_expires": 300,
            **settings,
        }
    )


if STORE in os.environ:
    moved = os.environ.get("REDISLOCK_TEST_BROKER")
    results = os.environ.get("REDISLOCK_TEST_RESULTS")
    locks = os.environ.get("REDISLOCK_TEST_LOCKS")
    configure(
        os.environ[STORE],
        **({"broker_url": moved} if moved else {}),
        **({"result_backend": results} if results else {}),
        **({"redislock_url": locks} if locks else {}),
    )


@lock_lost.connect(weak=False)
def _say_lost(lock: Any, **_: Any) -> None:
    get_task_logger(__name__).warning("lock_lost was told of %s", lock.name)


def act(self: Any, *args: Any, batch: str, steps: Any = ()) -> Any:
    """Do the steps, one after the other, between two lines in the journal; return the last one's value."""
    request = self.request
    facts = {"batch": batch, "task": self.name, "id": request.id, "retries": request.retries}
    journal().write("begun", **facts)
    value = None
    try:
        for name, *arguments in steps:
            value = STEPS[name](self, batch, *arguments)
    finally:
        journal().write("ended", **facts)
    return value


def _fail(task: Any, batch: str) -> None:
    raise Failure("as asked")


def _retry(task: Any, batch: str, countdown: float) -> None:
    if task.request.retries == 0:
        raise task.retry(countdown=countdown, max_retries=3)


def _kill(task: Any, batch: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _exit(task: Any, batch: str) -> None:
    raise SystemExit(3)


def _replace(task: Any, batch: str, shape: str) -> None:
    task.replace(shapes(batch, task.request.delivery_info["routing_key"])[shape])


def _add(task: Any, batch: str, seconds: float) -> None:
    queue = task.request.delivery_info["routing_key"]
    task.add_to_chord(member.si(batch=batch, steps=[["sleep", seconds]]).set(queue=queue))


def _send(task: Any, batch: str, seconds: float) -> None:
    """Send a task that has nothing to do with the batch."""
    queue = task.request.delivery_info["routing_key"]
    member.apply_async(kwargs={"batch": "other", "steps": [["sleep", seconds]]}, queue=queue)


STEPS: dict[str, Any] = {
    "sleep": lambda task, batch, seconds: time.sleep(seconds),
    "wait": lambda task, batch, gate: journal().pass_gate(gate),
    "fail": _fail,
    "retry": _retry,
    "kill": _kill,
    "exit": _exit,
    "replace": _replace,
    "add": _add,
    "send": _send,
    "give": lambda task, batch, value: value,
}


def _task(name: str, base: type[Task] = Task, **options: Any) -> Any:
    # Not shared: the tests of a session have other apps too.
    return app.task(act, base=base, bind=True, shared=False, name=name, **options)


member = _task("member")
late = _task("late", acks_late=True, reject_on_worker_lost=True)
limited = _task("limited", time_limit=1)
locked = _task("locked", base=LockedTask, lock_args=["batch"])
same_lock = _task("same_lock", base=LockedTask, lock_key="{batch}")
slow_return = _task("slow_return", after_return=lambda self, *_: time.sleep(1))
own_hooks = _task("own_hooks", before_start=lambda self, task_id, args, kwargs: None)


def one(batch: str, *steps: Any, task: Any = member, queue: str = "batches") -> Any:
    """Return a member that takes nothing from those before it."""
    return task.si(batch=batch, steps=list(steps)).set(queue=queue)


def shapes(batch: str, queue: str = "batches", seconds: float = 0.02) -> dict[str, Any]:
    """Return canvases of every shape, each of several members."""

    def part() -> Any:
        return one(batch, ["sleep", seconds], ["give", 1], queue=queue)

    return {
        "single": part(),
        "chain": chain(part(), part(), part()),
        "group": group(part(), part(), part()),
        "chord": chord([part(), part(), part()], part()),
        "chain to group": chain(part(), group(part(), part())),
        "chain with chord": chain(part(), chord([part(), part()], part()), part()),
        "group of chains": group(chain(part(), part()), chain(part(), part())),
        "chord of chains": chord([chain(part(), part()), chain(part(), part())], chain(part(), part())),
        "group of chords": group(chord([part(), part()], part()), chord([part(), part()], part())),
        "chord of groups": chord([group(part(), part()), part()], group(part(), part())),
        "nested": chain(
            group(part(), chain(part(), group(part(), part()))), part(), chord([part(), part()], part())
        ),
    }


def batch_of(key: str, canvas: Any, **options: Any) -> Any:
    """Return a batch."""
    return locked_batch(canvas, lock_key=key, **options)


#: What the seventh member of a chord of twelve does besides its work.
INCIDENTS: dict[str, list[Any]] = {
    "nothing": ["give", None],
    "retries": ["retry", 0.3],
    "fails": ["fail"],
    "is killed": ["kill"],
}


@app.task(bind=True, shared=False, name="publish")
def publish(self: Any, key: str, name: str, incident: str, seconds: float, **options: Any) -> str:
    """Publish a batch of a chord of twelve members when the gate opens, and return its result's id."""
    queue, work = self.request.delivery_info["routing_key"], ["sleep", seconds]
    header = [one(name, work, queue=queue) for _ in range(12)]
    header[6] = one(name, work, INCIDENTS[incident], queue=queue)
    batch = batch_of(key, chord(header, one(name, work, queue=queue)), **options)
    journal().write("ready", key=key)
    journal().pass_gate(key)
    return str(batch.delay().id)
