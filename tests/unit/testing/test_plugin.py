"""Plugin: where the locks of a test are, that none may be left, and that it costs nothing unused."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable

import pytest

from ...support.places import python_path
from ...support.sample import plugin_arguments

#: Runs pytest on a file with this text, and returns what it prints.
Run = Callable[..., str]

TESTS = """
import pytest
from celery import Celery
from celery_redislock import locked_task
from celery_redislock.testing import LockStore

#: Nobody listens at port 1.
app = Celery("shop", broker="redis://127.0.0.1:1/0", backend="redis://127.0.0.1:1/0")
app.conf.update(redislock_on_error="fail")
kept = []


@locked_task(app=app)
def work(number=0):
    return number


@pytest.fixture(autouse=True)
def eager(request):
    app.conf.task_always_eager = "needs_workers" not in request.node.name


@pytest.mark.parametrize("time", [1, 2])
def test_without_the_fixture(time):
    work.delay().get()
    with work.lock_for(1):
        assert work.delay(1).state == "REVOKED"


@pytest.mark.parametrize("time", [1, 2])
def test_with_the_fixture(redislock, time):
    assert not redislock.conflicts
    redislock.busy(work, 7)
    assert work.delay(7).state == "REVOKED"
    assert len(redislock.conflicts) == 1


def test_with_a_store_of_its_own():
    with LockStore() as store, store.busy(work, 7):
        assert work.delay(7).state == "REVOKED"
    assert work.delay(7).get() == 7


def test_an_app_that_needs_workers():
    assert "cannot be reached" in str(work.apply().result)


@pytest.mark.redislock(mode="memory")
class TestMemory:
    def test_an_app_that_needs_workers(self):
        assert work.apply().get() == 0


def test_a_broker_in_memory_needs_workers_of_this_process(monkeypatch):
    monkeypatch.setitem(app.conf, "broker_url", "memory://")
    assert work.apply().get() == 0


@pytest.mark.redislock(mode="real")
def test_real():
    assert "cannot be reached" in str(work.delay().result)


@pytest.mark.redislock(mode="off")
def test_off():
    assert work.delay().get() == 0
    assert work.apply(lock={"mode": "on"}).get() == 0


def test_on_again():
    with work.lock_for():
        assert work.delay().state == "REVOKED"


@pytest.mark.redislock(mode="here")
def test_unknown():
    pass


@pytest.mark.redislock(mode="off")
def test_contradiction(redislock):
    pass


def test_left():
    kept.append(work.lock_for(1))
    assert kept[0].acquire()


def test_what_another_holds_is_not_left(redislock):
    redislock.busy(work, 1)
    redislock.busy(work, 2)
    redislock.kill_holder()


def test_nothing_of_it_in_the_next():
    assert work.delay(1).get() == 1
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run tests with our plugin."""

    def run(tests: str, *arguments: str) -> str:
        folder = tmp_path_factory.mktemp("tests")
        (folder / "test_it.py").write_text(tests)
        env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-W", "error", "-rA", *arguments],
            cwd=folder,
            env={**env, "PYTHONPATH": python_path()},
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done.stdout + done.stderr

    return run


@pytest.fixture(scope="module")
def printed(run: Run) -> str:
    """Give what one run of all tests above prints."""
    return run(TESTS, *plugin_arguments())


def ends(printed: str, name: str) -> set[str]:
    """Return how the tests whose names begin so have ended."""
    return set(re.findall(rf"^(PASSED|FAILED|ERROR) test_it\.py::{name}", printed, re.M))


@pytest.mark.parametrize(
    "test",
    [
        "test_without_the_fixture",
        "test_with_the_fixture",
        "test_with_a_store_of_its_own",
        "test_an_app_that_needs_workers",
        "TestMemory",
        "test_a_broker_in_memory",
        "test_real",
        "test_off",
        "test_on_again",
        "test_what_another_holds_is_not_left",
        "test_nothing_of_it_in_the_next",
    ],
)
def test_the_locks_are_where_the_app_or_the_mark_has_them(printed: str, test: str) -> None:
    assert ends(printed, test) == {"PASSED"}, printed


def test_a_mark_that_says_nothing_or_contradicts_the_fixture_is_refused(printed: str) -> None:
    assert ends(printed, "test_unknown") == ends(printed, "test_contradiction") == {"ERROR"}
    assert "::test_unknown: the mark redislock needs mode='memory', 'real', 'off', not 'here'" in printed
    assert "::test_contradiction: the fixture redislock has its locks in memory, and the mark" in printed


def test_a_lock_that_is_left_is_an_error_that_names_it_and_the_test(printed: str) -> None:
    assert ends(printed, "test_left") == {"PASSED", "ERROR"}
    assert re.search(r"test_it.py::test_left has left a lock: 'redislock:test_it\.work:\w+'", printed)


UNUSED = """
import sys

def test_nothing_is_loaded():
    assert not {"celery", "kombu", "redis", "fakeredis", "lupa"} & sys.modules.keys()
"""


def test_unused_it_loads_neither_redis_nor_celery_and_sets_up_no_fixture(run: Run) -> None:
    # Plugins of other packages may load what they like.
    others = ("-p", "no:xdist", "-p", "no:celery", "-p", "no:anyio", "-p", "no:logfire", "-p", "no:faker")
    printed = run(UNUSED, *plugin_arguments(), "--setup-show", *others)

    assert ends(printed, "test_nothing_is_loaded") == {"PASSED"}, printed
    assert "redislock" not in printed.partition("\ntest_it.py")[2]


def test_it_can_be_turned_off(run: Run) -> None:
    printed = run("def test_it(redislock): pass", "-p", "no:redislock")

    assert "fixture 'redislock' not found" in printed


def test_the_mark_is_known(run: Run) -> None:
    printed = run("", *plugin_arguments(), "--markers")

    assert "@pytest.mark.redislock(mode): where the locks of this test are" in printed
