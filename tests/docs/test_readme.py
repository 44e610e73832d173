"""README: a stranger learns on its first screen what it is for, and what that screen shows happens."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from celery_redislock.config.options import OPTIONS

from ..support.places import README
from ..support.servers import Server
from .walkthrough import Walkthrough

TEXT = README.read_text(encoding="utf-8")

#: Lines that most screens show of a page.
FIRST_SCREEN = 55

#: What is asked of the two calls that the first screen publishes.
ENDS = """\
python - <<'END'
from celery.exceptions import TaskRevokedError
from shop import app
keys = app.backend.client.keys("celery-task-meta-*")
results = [app.AsyncResult(key.decode().removeprefix("celery-task-meta-")) for key in keys]
print(sorted(result.state for result in results))
for result in results:
    try:
        result.get()
    except TaskRevokedError as error:
        print(error)
END
"""


def test_it_has_at_most_two_hundred_lines() -> None:
    assert len(TEXT.splitlines()) <= 200


def test_what_is_before_the_picture_is_read_in_less_than_a_minute() -> None:
    """At 240 words a minute, as adults read plain text."""
    prose = re.sub(r"```.*?```", "", TEXT.partition("![")[0], flags=re.DOTALL)

    assert len(prose.split()) < 200


@pytest.mark.parametrize(
    "shown", ["pip install celery_redislock", "@locked_task", "celery -A shop worker", "$ python"]
)
def test_the_first_screen_shows_how_to_install_and_how_to_try_it(shown: str) -> None:
    assert shown in "\n".join(TEXT.splitlines()[:FIRST_SCREEN])


def test_what_the_first_screen_shows_happens(own_server: Server, tmp_path: Path) -> None:
    with Walkthrough(README, tmp_path / "home", own_server).followed() as reader:
        states, reason = reader.run(ENDS).splitlines()
        held = reader.run("celery -A shop locks list")

    assert states == "['REVOKED', 'SUCCESS']"
    assert "busy" in reason
    assert "import_csv" not in held, "the lock is free when its run has ended"


def test_every_option_that_it_names_exists() -> None:
    named = set(re.findall(r"\block_(\w+)=", TEXT))

    assert {"args", "key", "on_conflict", "scope"} <= named
    assert named <= OPTIONS.keys()
