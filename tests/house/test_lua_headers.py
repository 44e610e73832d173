"""The Lua scripts: each says what it takes and returns, and means it; every server compiles it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ..support.scripts import FILES, PACKAGE, loaded_scripts
from ..support.servers import Server


def name_of(path: Path) -> str:
    """Name a script for the test report."""
    return str(path.relative_to(PACKAGE))


FIRST_LINE = re.compile(r"-- (?P<name>\w+): \S.*[.?]( .+)?")
PARAMETER = re.compile(r"-- (KEYS|ARGV)\[(\d+)\]  \w+ +\S.*")
RETURNS = re.compile(r"-- returns  \S.*")
#: What becomes of it on a full server; `tests/stories/lock/test_maxmemory.py` tries each.
MAXMEMORY = re.compile(r"-- maxmemory  (works|refused|only reads)\b.*")
USED = re.compile(r"\b(KEYS|ARGV)\[(\d+)\]")
CALL = re.compile(r"redis\.p?call\(\s*['\"](?P<verb>\w+)['\"](?:\s*,\s*(?P<key>[^,()]+))?")
WHOLE_KEYSPACE = {"KEYS", "SCAN", "FLUSHDB", "FLUSHALL", "RANDOMKEY"}


def problems(name: str, source: str) -> list[str]:
    """List what is wrong with a script; nothing, in good order."""
    lines = source.splitlines()
    header = [line for line in lines[: _first_code(lines)] if line.startswith("--")]
    body = "\n".join(lines[len(header) :])
    if not header:
        return ["it has no header"]
    first = FIRST_LINE.fullmatch(header[0])
    found = [] if first and first["name"] == name else [f"its first line is not '-- {name}: ...'"]
    if is_shared(source):
        return found + _problems_of_functions(body) + _problems_of_calls(source)
    return found + _problems_of_header(header, body) + _problems_of_calls(source)


def is_shared(source: str) -> bool:
    """Tell whether a file holds functions for other scripts, and has no keys of its own."""
    return not re.search(r"^-- ((KEYS|ARGV)\[|returns)", source, re.MULTILINE) and (
        "KEYS[" not in _code(source)
    )


def _first_code(lines: list[str]) -> int:
    return next((n for n, line in enumerate(lines) if not line.startswith("--")), len(lines))


def _problems_of_header(header: list[str], body: str) -> list[str]:
    found = []
    if "--" not in header[1:]:
        found.append("no empty comment line parts the first sentence from the parameters")
    listed = [match.groups() for line in header if (match := PARAMETER.fullmatch(line))]
    malformed = [
        line for line in header if re.match(r"--\s*(KEYS|ARGV)\b", line) and not PARAMETER.match(line)
    ]
    found += [f"this is not '-- KEYS[1]  name  meaning': {line}" for line in malformed]
    keys = [int(number) for kind, number in listed if kind == "KEYS"]
    arguments = [int(number) for kind, number in listed if kind == "ARGV"]
    for kind, numbers in (("KEYS", keys), ("ARGV", arguments)):
        used = {int(number) for word, number in USED.findall(_code(body)) if word == kind}
        if numbers != list(range(1, len(numbers) + 1)):
            found.append(f"{kind} are listed as {numbers}, not 1, 2, 3 ...")
        if used != set(numbers):
            found.append(f"{kind} {sorted(used)} are used, {sorted(numbers)} are listed")
    if not any(RETURNS.fullmatch(line) for line in header):
        found.append("no line '-- returns  ...'")
    if not any(MAXMEMORY.fullmatch(line) for line in header):
        found.append("no line '-- maxmemory  works', 'refused' or 'only reads'")
    return found


def _problems_of_functions(body: str) -> list[str]:
    """They stand inside another script: they may define, and do nothing."""
    at_top = [line for line in body.splitlines() if line and not line[0].isspace()]
    return [
        f"a prelude only defines functions and numbers: {line}"
        for line in at_top
        if not re.match(r"(--|local function |local \w+ = '?[\d.]+'?$|end$)", line)
    ]


def _problems_of_calls(source: str) -> list[str]:
    code = _code(source)
    found = []
    for call in CALL.finditer(code):
        verb, key = call["verb"].upper(), (call["key"] or "").strip()
        if verb in WHOLE_KEYSPACE:
            found.append(f"{verb} looks at every key of the server")
        expression = _expression(key, code)
        if ".." in expression and _letters(expression) not in _letters(_comments(source)):
            found.append(f"a key is put together, and no comment spells it out: {expression}")
    return sorted(set(found))


def _expression(key: str, code: str) -> str:
    """Return what a key argument was made of: itself, or what its variable was given."""
    assigned = re.search(rf"local {re.escape(key)} = (.+)", code)
    return assigned[1] if assigned else key


def _code(source: str) -> str:
    return "\n".join(line.partition("--")[0] for line in source.splitlines())


def _comments(source: str) -> str:
    return "\n".join(line.partition("--")[2] for line in source.splitlines())


def _letters(text: str) -> str:
    return re.sub(r"[\s`'\"]", "", text)


GOOD = """\
-- give: an example of good order.
--
-- KEYS[1]  lock   what it holds
-- KEYS[2]  box    what it wakes
-- ARGV[1]  token  the caller's token
--
-- maxmemory  works
--
-- returns  1 done,
--          0 not done

if redis.call('GET', KEYS[1]) ~= ARGV[1] then -- KEYS[9] in a comment is no use of it
    return 0
end
redis.call('DEL', KEYS[2])
return 1
"""

BAD = {
    "no header": (GOOD[GOOD.index("if") :], "no header"),
    "another script's name": (GOOD.replace("-- give", "-- take"), "first line"),
    "a key that is not listed": (GOOD.replace("KEYS[2])", "KEYS[3])"), r"KEYS \[1, 3\] are used"),
    "a key that is not used": (GOOD.replace("redis.call('DEL', KEYS[2])", ""), "are used"),
    "an argument not used": (GOOD.replace("~= ARGV[1]", "== 1"), "ARGV .* are used"),
    "a gap": (GOOD.replace("KEYS[2]", "KEYS[3]"), "not 1, 2, 3"),
    "a list in disorder": (
        GOOD.replace("-- KEYS[1]", "-- KEYS[x]").replace("-- KEYS[2]", "-- KEYS[1]"),
        "this is not",
    ),
    "one space too few": (GOOD.replace("ARGV[1]  token", "ARGV[1] token"), "this is not"),
    "no result": (GOOD.replace("-- returns", "-- gives"), "returns"),
    "no word on a full server": (GOOD.replace("-- maxmemory  works\n", ""), "maxmemory"),
    "no empty line": (GOOD.replace("--\n", ""), "no empty comment line"),
    "a walk over all keys": (GOOD.replace("'DEL'", "'KEYS'"), "every key of the server"),
    "a scan": (GOOD.replace("redis.call('DEL'", 'redis.pcall("scan"'), "every key of the server"),
    "a key built in place": (
        GOOD.replace("KEYS[2])", "KEYS[2] .. ':x')"),
        "no comment spells it out",
    ),
    "a key built before": (
        GOOD.replace("redis.call('DEL', KEYS[2])", "local k = KEYS[2] .. ':x'\nredis.call('DEL', k)"),
        "no comment spells it out",
    ),
}


def test_a_script_in_good_order_passes() -> None:
    assert problems("give", GOOD) == []


@pytest.mark.parametrize(("source", "complaint"), BAD.values(), ids=BAD)
def test_a_script_in_disorder_is_found_out(source: str, complaint: str) -> None:
    assert re.search(complaint, "; ".join(problems("give", source)))


def test_a_key_that_a_comment_spells_out_is_allowed() -> None:
    built = GOOD.replace("KEYS[2])", "KEYS[2] .. ':x')")

    assert problems("give", built.replace("what it wakes", "also `KEYS[2] .. ':x'`")) == []


def test_a_prelude_that_does_something_by_itself_is_found_out() -> None:
    prelude = "-- turn: functions.\n\nlocal function one()\n    return 1\nend\n"

    assert problems("turn", prelude) == []
    assert problems("turn", f"{prelude}redis.call('PING')\n") != []


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_script_says_what_it_takes_and_returns(path: Path) -> None:
    assert problems(path.stem, path.read_text()) == []


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_every_script_is_sent_by_the_package(path: Path) -> None:
    source = path.read_text()

    for shared in (path for path in FILES if is_shared(path.read_text())):
        source = source.replace(f"-- {shared.name}\n", shared.read_text())
    assert any(
        source in script.source if is_shared(path.read_text()) else source == script.source
        for script in loaded_scripts()
    )


def test_every_server_compiles_the_scripts_under_the_digest_that_is_sent(
    any_server: Server,
) -> None:
    assert loaded_scripts()
    with any_server.client(decode_responses=True) as client:
        for script in loaded_scripts():
            assert client.script_load(script.source) == script.sha
