"""Interruptible: the stretch of code that a lost lock may interrupt, and nothing before and behind it."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from importlib.util import find_spec

import pytest

from celery_redislock.errors import LockLost
from celery_redislock.task.interruption import Interruptible, _InMainThread, _InThread

LOSS = LockLost("a", "for a test")


def in_a_thread(work: Callable[[], None]) -> None:
    """Run work in a thread and raise what it raises."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(60)
    if errors:
        raise errors[0]


def here(work: Callable[[], None]) -> None:
    work()


KINDS = [
    pytest.param(_InMainThread, here, id="main thread"),
    pytest.param(_InThread, in_a_thread, id="thread"),
]


def interrupt_after(body: Interruptible, seconds: float) -> threading.Thread:
    def wait_and_interrupt() -> None:
        time.sleep(seconds)
        body.interrupt(LOSS)

    thread = threading.Thread(target=wait_and_interrupt)
    thread.start()
    return thread


def spin(seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(0)


def spin_in(body: Interruptible, seconds: float) -> None:
    with body:
        spin(seconds)


@pytest.mark.parametrize(("kind", "runner"), KINDS)
def test_an_interruption_raises_the_very_error_in_the_body(
    kind: type[Interruptible], runner: Callable[[Callable[[], None]], None]
) -> None:
    def work() -> None:
        body = kind()
        thread = interrupt_after(body, 0.05)
        with pytest.raises(LockLost) as caught:
            spin_in(body, 10)
        thread.join()
        assert caught.value is LOSS

    runner(work)


@pytest.mark.parametrize(("kind", "runner"), KINDS)
def test_an_interruption_before_the_body_has_begun_is_not_forgotten(
    kind: type[Interruptible], runner: Callable[[Callable[[], None]], None]
) -> None:
    def work() -> None:
        body = kind()
        body.interrupt(LOSS)
        with pytest.raises(LockLost):
            spin_in(body, 0.2)

    runner(work)


@pytest.mark.parametrize(("kind", "runner"), KINDS)
def test_a_late_interruption_does_nothing(
    kind: type[Interruptible], runner: Callable[[Callable[[], None]], None]
) -> None:
    def work() -> None:
        body = kind()
        with body:
            pass
        body.interrupt(LOSS)
        spin(0.05)
        with kind():
            spin(0.05)

    runner(work)


@pytest.mark.parametrize(("kind", "runner"), KINDS)
def test_an_interruption_at_the_very_end_of_a_body_never_leaves_it(
    kind: type[Interruptible], runner: Callable[[Callable[[], None]], None]
) -> None:
    struck = []

    def work() -> None:
        for _ in range(400):
            body = kind()
            thread = interrupt_after(body, 0.001)
            try:
                with body:
                    spin(random.uniform(0.0005, 0.0016))
            except LockLost:
                struck.append(True)
            # Whatever comes now belongs to somebody else.
            with kind():
                spin(0.0005)
            thread.join()
            spin(0.0001)

    runner(work)
    assert 10 < len(struck) < 390, f"{len(struck)} of 400: the moment was not hit"


def test_an_inner_body_that_ends_leaves_the_outer_one_open_to_its_own_loss() -> None:
    outer = _InMainThread()

    def work() -> None:
        with outer:
            with _InMainThread():
                spin(0.01)
            thread = interrupt_after(outer, 0.02)
            try:
                spin(5)
            finally:
                thread.join()

    with pytest.raises(LockLost):
        work()


GREENLETS = """
import {library}
{patch}
import random, threading, time
from celery_redislock.task.interruption import _InGreenlet, interruptible_here
from celery_redislock.errors import LockLost

LOSS = LockLost("a", "for a test")
struck = []

def interrupt_after(body, seconds):
    def run():
        time.sleep(seconds)
        body.interrupt(LOSS)
    thread = threading.Thread(target=run)
    thread.start()
    return thread

def work():
    early = interruptible_here()
    assert isinstance(early, _InGreenlet)
    early.interrupt(LOSS)
    time.sleep(0.01)
    try:
        with early:
            time.sleep(0.1)
            raise SystemExit("a loss before the body was forgotten")
    except LockLost:
        pass
    with interruptible_here() as late:
        pass
    late.interrupt(LOSS)
    time.sleep(0.02)
    for _ in range(200):
        body = interruptible_here()
        try:
            with body:
                thread = interrupt_after(body, 0.002)
                time.sleep(random.uniform(0.001, 0.003))
        except LockLost:
            struck.append(True)
        with interruptible_here():
            time.sleep(0.001)
        thread.join()

errors = []
def watched():
    try:
        work()
    except BaseException as error:
        errors.append(repr(error))

thread = threading.Thread(target=watched)
thread.start()
thread.join()
assert not errors, errors
assert 5 < len(struck) < 195, len(struck)
print("fine")
"""


@pytest.mark.parametrize(
    ("library", "patch"),
    [
        ("gevent.monkey", "gevent.monkey.patch_all()"),
        ("eventlet", "eventlet.monkey_patch()"),
    ],
    ids=["gevent", "eventlet"],
)
def test_a_greenlet_is_interrupted_in_its_body_only(library: str, patch: str) -> None:
    if find_spec(library.partition(".")[0]) is None:
        pytest.skip(f"{library} is not installed")
    script = GREENLETS.format(library=library, patch=patch)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.strip() == "fine", done.stderr
