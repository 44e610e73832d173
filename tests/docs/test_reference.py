"""Reference: it has each option, setting, key, header, command and name once, as the code has them."""

from __future__ import annotations

import inspect
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta, timezone
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery
from celery.app.defaults import NAMESPACES, flatten

import celery_redislock
from celery_redislock import Holder, RedisLock, locked_batch, signals, testing
from celery_redislock.beat.ledger import Ledger
from celery_redislock.config.celery_connection import Companions
from celery_redislock.config.client import client_from_url
from celery_redislock.config.options import OPTIONS, POLICIES, Option
from celery_redislock.config.settings import SETTINGS, Setting
from celery_redislock.config.urls import SCHEMES
from celery_redislock.engine import Inspection, Limit, Limits, Member
from celery_redislock.engine.companion import Index
from celery_redislock.engine.lease.shared_verbs import SharedVerbs
from celery_redislock.engine.lease.verbs import LockVerbs
from celery_redislock.engine.protocol.keys import keys_of
from celery_redislock.engine.protocol.shared import Words
from celery_redislock.engine.transport.clients import store_of
from celery_redislock.log_fields import FIELDS, PREFIX
from celery_redislock.messages import headers
from celery_redislock.observing.statistics import LastConflict
from celery_redislock.observing.statistics_record import Batch, StatisticsRecord, of_task
from celery_redislock.operations.commands import locks
from celery_redislock.operations.rendering import LockView
from celery_redislock.operations.usual import Hold
from celery_redislock.pending.runs import SCHEDULE, PendingRun, PendingRuns
from celery_redislock.publish_lock.record import PublishLock

from ..support.places import DOCS
from ..support.servers import Server
from .pages import Block, blocks, pages
from .walkthrough import Walkthrough

REFERENCE = DOCS / "reference"

#: Those of the page of options that declare tasks; those that are marked as runnable run elsewhere.
EXAMPLES = [
    each
    for each in blocks(REFERENCE / "options.md")
    if "@locked_task" in each.code and "runnable" not in each.info
]

#: A link into an inventory: which one, what it is, its name.
LINK = re.compile(r"inv:(celery|redis):(py:\w+|std:setting)#([\w.]+)")


def text_of(page: str) -> str:
    return (REFERENCE / f"{page}.md").read_text(encoding="utf-8")


def rows_of(text: str) -> list[tuple[str, ...]]:
    """Return the cells of each row of the tables, without headings and rulers."""
    lines = text.splitlines()
    return [
        tuple(cell.strip() for cell in line.strip("|").split("|"))
        for line, below in zip(lines, [*lines[1:], ""], strict=True)
        if line.startswith("|") and not any(each.startswith("|---") for each in (line, below))
    ]


def everything() -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted(REFERENCE.rglob("*.md")))


def shown(default: object) -> str:
    return f'`"{default}"`' if isinstance(default, str) else f"`{default!r}`"


# -- options


def sections() -> dict[str, str]:
    """Return what stands below each heading of the page of options."""
    return dict(re.findall(r"^## (\w+)\n\n(.*?)(?=^## |\Z)", text_of("options"), re.M | re.S))


def facts_of(option: Option) -> str:
    unit = ", in seconds or as `timedelta`" if option.unit == "s" else ""
    call = f'`lock={{"{option.name}": ...}}`'
    return f"Default: {shown(option.default)}{unit}. Setting: `redislock_{option.name}`. One call: {call}."


@pytest.mark.parametrize("option", OPTIONS.values(), ids=list(OPTIONS))
def test_an_option_is_described_as_the_code_has_it(option: Option) -> None:
    facts, meaning, *_ = sections()[f"lock_{option.name}"].split("\n\n")

    assert facts == facts_of(option)
    assert " ".join(meaning.split()) == option.meaning


def test_each_option_has_one_place_in_the_reference_and_there_is_no_other() -> None:
    headings = re.findall(r"^#+ `?(lock_\w+)", everything(), re.M)
    first_cells = [name for row in rows_of(everything()) for name in re.findall(r"^`(lock_\w+)`", row[0])]

    described = [name for name in headings + first_cells if name not in signals.__all__]

    assert Counter(described) == Counter(f"lock_{name}" for name in OPTIONS)


@pytest.mark.parametrize("option", OPTIONS.values(), ids=list(OPTIONS))
def test_an_option_has_an_example(option: Option) -> None:
    words = f"lock_{option.name}=", f"redislock_{option.name} ="

    assert any(word in sections()[f"lock_{option.name}"] for word in words)


@pytest.mark.parametrize("block", EXAMPLES, ids=str)
def test_an_example_of_the_options_is_accepted(block: Block, redis_url: str) -> None:
    with Celery(broker=redis_url, backend=redis_url, set_as_current=False) as app:
        code = block.code.replace("@locked_task(", "@locked_task(app=app, shared=False, ")
        names: dict[str, Any] = {"app": app, "__name__": "example"}
        exec(compile(code, str(block), "exec"), names)
        app.finalize()

        assert [task for task in app.tasks if task.startswith("example.")]


def test_each_policy_has_its_row() -> None:
    rows = rows_of(sections()["lock_on_conflict"])

    assert [row[0].strip('`"') for row in rows] == list(POLICIES)


# -- settings


#: Pages of names of the same form that are no settings.
OTHER_NAMES = {"headers", "logs", "metrics"}


def setting_rows() -> list[tuple[str, ...]]:
    """Return the rows of settings on all pages but those of other names."""
    pages_of_settings = (
        path.stem for path in sorted(REFERENCE.rglob("*.md")) if path.stem not in OTHER_NAMES
    )
    rows = (row for page in pages_of_settings for row in rows_of(text_of(page)))
    return [row for row in rows if row[0].startswith("`redislock_")]


def test_each_setting_has_one_row_in_the_reference_and_there_is_no_other() -> None:
    named = Counter(row[0].strip("`") for row in setting_rows())

    assert named == Counter([*SETTINGS, *(f"redislock_{name}" for name in OPTIONS)])


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=list(SETTINGS))
def test_a_setting_is_described_as_the_code_has_it(setting: Setting) -> None:
    (row,) = (row for row in setting_rows() if row[0] == f"`{setting.name}`")

    default = "\N{EN DASH}" if setting.default is None else shown(setting.default)
    assert row == (f"`{setting.name}`", default, setting.meaning)


@pytest.mark.parametrize("option", OPTIONS.values(), ids=list(OPTIONS))
def test_the_setting_of_an_option_has_its_default(option: Option) -> None:
    (row,) = (row for row in setting_rows() if row[0] == f"`redislock_{option.name}`")

    assert row[1] == shown(option.default)
    assert f"options.md#lock_{option.name})" in row[2]


def test_a_batch_has_its_arguments_with_their_defaults() -> None:
    terms = re.findall(r"^`(lock_\w+)` \((?:no default|default `(.*?)`)\)\n: ", text_of("locked_batch"), re.M)

    parameters = [*inspect.signature(locked_batch).parameters.values()][1:]
    has_none = inspect.Parameter.empty
    assert dict(terms) == {
        each.name: "" if each.default is has_none else shown(each.default).strip("`") for each in parameters
    }


@pytest.mark.parametrize("url", re.findall(r"`(\w[\w+]*://[^`]+)`", text_of("settings")))
def test_a_url_on_the_page_leads_somewhere(url: str) -> None:
    scheme, _, rest = url.partition("://")

    assert scheme in SCHEMES
    if rest != "\N{HORIZONTAL ELLIPSIS}":
        assert client_from_url(url, setting="redislock_url", companions=Companions(service="mymaster"))


# -- names


def test_each_public_name_is_in_the_api() -> None:
    described = re.findall(
        r"^\.\. (?:auto\w+|py:data):: celery_redislock\.(\w+)(?:\(|$)", text_of("api"), re.M
    )

    assert Counter(described) == Counter(celery_redislock.__all__)


def test_each_name_for_tests_is_on_its_page() -> None:
    described = re.findall(r"^\.\. auto\w+:: celery_redislock\.testing\.(\w+)", text_of("testing"), re.M)

    assert Counter(described) == Counter(testing.__all__)


def test_each_signal_has_its_row_with_its_arguments() -> None:
    rows = {row[0].strip("`"): set(re.findall(r"`(\w+)`", row[1])) for row in rows_of(text_of("signals"))}

    assert rows == {name: getattr(signals, name).providing_args for name in signals.__all__}


def test_each_header_has_its_row() -> None:
    rows = Counter(row[0].strip("`") for row in rows_of(text_of("headers")))

    assert rows == Counter(getattr(headers, name) for name in headers.__all__ if name.endswith("_HEADER"))


def test_each_field_of_a_log_line_has_its_row() -> None:
    rows = [row for row in rows_of(text_of("logs")) if row[0].startswith(f"`{PREFIX}")]

    assert rows == [(f"`{PREFIX}{name}`", meaning) for name, meaning in FIELDS]


def test_the_fields_of_a_header_are_told() -> None:
    fields = {row[0].strip("`"): set(re.findall(r"`(\w+)`", row[1])) for row in rows_of(text_of("headers"))}

    assert fields[headers.TICKET_HEADER] == headers.ticket_value("", "", "").keys()
    assert fields[headers.PENDING_HEADER] == headers.pending_value(1, "k", "t").keys()
    counting = (headers.RETRY_HEADER, headers.OUTAGE_HEADER, headers.COPY_HEADER, headers.PUT_OFF_HEADER)
    assert all(fields[header] == headers.attempts_value(1, 1).keys() for header in counting)


@pytest.mark.parametrize("link", sorted({m for page in pages() for m in LINK.findall(page.read_text())}))
def test_a_link_to_celery_or_redis_py_names_what_is_installed(link: tuple[str, str, str]) -> None:
    _, kind, name = link
    if kind == "std:setting":
        assert name in dict(flatten(NAMESPACES))
    else:
        found: Any = import_module(name.partition(".")[0])
        for part in name.split(".")[1:]:
            found = getattr(found, part, None) or import_module(f"{found.__name__}.{part}")


# -- commands


def test_each_command_has_its_heading_and_each_of_its_options_is_told() -> None:
    page = text_of("commands")

    for name, command in locks.commands.items():
        (section,) = re.findall(rf"^## locks {name}\n(.*?)(?=^## |\Z)", page, re.M | re.S)
        words = {word for each in command.params for word in each.opts if word.startswith("--")}
        assert all(f"`{word}`" in page for word in words)
        assert f"locks {name}" in section


def test_each_field_of_the_json_is_told() -> None:
    view = LockView(
        "k",
        Inspection("k", Holder({"id": "one"}), waiters=0, is_kept=False, is_shared=True),
        members=[{"state": "waits"}],
        waiting=Holder({"id": "another"}),
        hold=Hold(1.0, 2.0, 3.0),
        conflicts=[LastConflict(datetime.now(timezone.utc), "k", "late", "one", "here", "skip")],
        limit=Limit("k", 3),
    )
    known = json.loads(json.dumps(view.as_dict()))

    fields = re.findall(r"^\| `(\w+)` \| (?:\w+ or null|\w+) \| ", text_of("commands"), re.M)

    assert fields == list(known)
    assert known["limit"].keys() <= set(re.findall(r"`(\w+)`", text_of("commands")))
    assert known["last_conflicts"][0].keys() <= set(re.findall(r"`(\w+)`", text_of("commands")))


def test_the_page_of_commands_shows_what_is_printed(own_server: Server, tmp_path: Path) -> None:
    page = REFERENCE / "commands.md"
    with Walkthrough(page, tmp_path, own_server).followed() as walkthrough:
        # Its tasks run for ten minutes.
        walkthrough.follow(Block(page, 0, ("console", "kill=worker"), ""))


# -- keys

#: The longest life that a row of the page gives, where it gives one.
LIFE = re.compile(r"\b(\d+|one) (s|hour|week|days)\b")
LENGTH = {
    "s": timedelta(seconds=1),
    "hour": timedelta(hours=1),
    "week": timedelta(weeks=1),
    "days": timedelta(days=1),
}

TOKEN = "f" * 32


def documented() -> Mapping[str, tuple[str, timedelta | None]]:
    """Return the documented keys: pattern -> type, and longest life if that is a number."""
    found = {}
    for key, kind, lives, _ in rows_of(text_of("keys")):
        life = LIFE.search(lives)
        length = life and LENGTH[life[2]] * (1 if life[1] == "one" else int(life[1]))
        found[key.strip("`")] = kind, length
    return found


def with_every_feature(client: redis.Redis, name: str) -> Iterator[None]:
    """Use all that writes keys, one after the other."""
    verbs = LockVerbs(store_of(client), name)
    lock = RedisLock(client, name, metadata={"task": "a task"})
    assert lock.acquire()
    verbs.acquire(TOKEN, 30_000, 5_000, "{}")
    yield
    lock.release(done="an-id")
    yield
    client.flushall()
    sharers = [RedisLock(client, name, limit=2) for _ in range(2)]
    assert all(sharer.acquire() for sharer in sharers)
    Limits(client, name).set(1, 60_000, "ann", "")
    # A third waits, and does not fit beside one.
    SharedVerbs(store_of(client), name, 0, Words(1)).acquire(TOKEN, 30_000, 5_000, "{}")
    yield
    sharers[0].release(done="an-id")
    yield
    client.flushall()
    assert lock.acquire()
    assert PublishLock(client, name).take("a" * 32, "an-id", 60_000, runs=False) is None
    index = Index(client, "redislock:")
    index.run(SCHEDULE, (index.key,), name, 1000, "")
    runs, run = PendingRuns(client, name), PendingRun("a task", "an-id", b"{}")
    runs.record(run, keep="latest", question="b" * 32, is_listed=True)
    assert Member(client, name, str(lock.token), "one").wait(30_000, {"task": "a task"})
    Ledger(client, name).note_seen("an entry", 0)
    StatisticsRecord(client, "redislock:").add(
        Batch(
            {(of_task("t"), "lost", "taken"): 1},
            {},
            {(of_task("t"), "hold", "1"): 1},
            {"<task>": [name]},
            {"<task>": ["[]"]},
            token="c" * 16,
        )
    )
    yield


def test_the_keys_on_a_server_are_those_of_the_page(client: redis.Redis) -> None:
    name = "redislock:csv"
    unseen = dict(documented())
    for _ in with_every_feature(client, name):
        for key in client.scan_iter():
            told = key.decode().replace("{redislock:}", "{PREFIX}").replace(name, "LOCK")
            told = re.sub(r"(redislock.done:.*):\d+$", r"\1:<number>", told)
            told = re.sub(r":[0-9a-f]{16,32}$", ":<token>", told)
            told = re.sub(r":\d{4}-\d\d-\d\dT\d\d$", ":<hour>", told)
            told = re.sub(r":\d{4}-\d\d-\d\d\b", ":<day>", told)
            kind, life = documented()[told]
            assert client.type(key).decode() == {"sorted set": "zset"}.get(kind, kind), told
            left_ms = client.pttl(key)
            assert left_ms > 0, f"{told} would stay for ever"
            assert life is None or left_ms <= life.total_seconds() * 1000, told
            unseen.pop(told, None)
    assert not unseen


def test_a_name_with_braces_has_keys_of_the_forms_that_the_page_tells() -> None:
    kinds = {key.decode().removeprefix("redislock.holder")[0] for key in map(holder_key, ("a", "{a}", "}"))}

    assert kinds == {":", "@", "#"}


def holder_key(name: str) -> bytes:
    return keys_of(name).holder
