"""Troubleshooting: whoever reads a message of the package finds its page by the text."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from celery_redislock import errors

from ..support.places import DOCS, ROOT
from .messages import Message, messages_in, messages_of
from .pages import blocks

FOLDER = DOCS / "troubleshooting"
#: What the doctor says stands where its rules are explained.
DOCTOR = DOCS / "reference" / "doctor.md"
FOLDERS_PAGES = sorted(path for path in FOLDER.glob("*.md") if path.name != "index.md")
PAGES = [*FOLDERS_PAGES, DOCTOR]
MESSAGES = messages_of(ROOT / "celery_redislock")

#: Texts that the package reads from others, or tells nobody.
UNTOLD = {
    "can't run this command",
    "non local key",
    "the body runs, with its lock",
    "the body runs without a lock",
    "the lock became free before anything was recorded: take it",
}

#: Shorter ones, such as "... must be ..., not ...", are in messages of several pages.
TELLING_WORDS = 4

#: Around a reason: what is to be done depends on the reason, so each reason has its page.
FRAMES = (
    "Redis cannot serve lock ...: ",
    "lock ... was lost: ",
    "lock ... is lost: ",
    "locks: Redis at ...: ",
)

#: So many words in a row that no message says are a message that the package says no longer.
UNSAID = re.compile(r"(?:(?<!\S)[a-z]{2,}[,;:.]?(?:\s+|$)){5,}")


@cache
def lines_of(page: Path) -> tuple[str, ...]:
    """Return the messages on a page; a line that is indented goes on with the one before it."""
    code = "\n".join(block.code for block in blocks(page) if block.language == "text")
    return tuple(filter(str.strip, re.sub(r"\n +", " ", code).splitlines()))


def pages_with(message: Message) -> list[str]:
    """Return the names of the pages that have a message."""
    return [page.name for page in PAGES if any(map(message.pattern.search, lines_of(page)))]


def of_kind(*kinds: str) -> list[Message]:
    """Return the messages of these kinds that somebody may look for."""
    return [each for each in MESSAGES if each.kind in kinds and "".join(each.pieces) not in UNTOLD]


@pytest.mark.parametrize("message", of_kind("whole", "part"), ids=str)
def test_each_message_is_on_a_page(message: Message) -> None:
    assert pages_with(message)


@pytest.mark.parametrize("message", of_kind("whole"), ids=str)
def test_a_message_is_on_one_page_only(message: Message) -> None:
    if message.words >= TELLING_WORDS and not "...".join(message.pieces).startswith(FRAMES):
        assert len(pages_with(message)) == 1


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_shows_nothing_that_the_package_does_not_say(page: Path) -> None:
    for line in lines_of(page):
        assert not UNSAID.search(unsaid(line)), line


def unsaid(line: str) -> str:
    """Return a line without what is in some message of the package."""
    rest = list(line)
    for message in MESSAGES:
        for found in message.pattern.finditer(line):
            for group in range(1, len(found.groups()) + 1):
                start, end = found.span(group)
                rest[start:end] = "\0" * (end - start)
    return "".join(rest)


@pytest.mark.parametrize("page", FOLDERS_PAGES, ids=lambda page: page.stem)
def test_a_page_says_the_cause_and_the_cure(page: Path) -> None:
    text = page.read_text(encoding="utf-8")

    assert re.search(r"^##+ (Cause|What to do|Check)", text, re.MULTILINE)


def test_the_index_leads_to_each_page() -> None:
    index = (FOLDER / "index.md").read_text(encoding="utf-8")

    table, _, toctree = index.partition("```{toctree}")
    assert [page.name for page in FOLDERS_PAGES if f"({page.name})" not in table] == []
    assert [page.stem for page in FOLDERS_PAGES if page.stem not in toctree.split()] == []


def test_a_page_of_what_the_package_says_no_longer_is_found() -> None:
    assert UNSAID.search(unsaid("Task shop.import[3f1] was cancelled because nobody came for it"))
    assert not UNSAID.search(
        unsaid(
            "lock 'redislock:a' was lost: its lease ran out; stop working on what it "
            "protects, or check the fencing token where the work is written"
        )
    )


SOURCE = '''
"""A docstring is no message."""
def f(name):
    """Nor is this one."""
    logger.warning("lock %r is %.1f s late", name, 1)
    logger.debug("nobody needs this")
    raise ConfigurationError(f"{name} must not be " + "empty, at all")
def reason(): return "its lease ran out"
'''


def test_messages_are_read_from_the_source() -> None:
    assert [(each.kind, each.pieces) for each in messages_in(SOURCE, "a.py")] == [
        ("whole", ("lock ", " is ", " s late")),
        ("quiet", ("nobody needs this",)),
        ("whole", ("", " must not be empty, at all")),
        ("part", ("its lease ran out",)),
    ]


@pytest.mark.parametrize("error", [name for name in errors.__all__ if name != "RedislockError"])
def test_the_index_names_each_error(error: str) -> None:
    assert f"| `{error}` |" in (FOLDER / "index.md").read_text(encoding="utf-8")
