"""README: its table of options is that of the code, whole and with the defaults."""

from __future__ import annotations

import re

import pytest

from celery_redislock.config.options import OPTIONS, Option

from ...support.places import README

TEXT = README.read_text(encoding="utf-8")
ROWS = {
    row[1]: (row[2].replace("\N{EN DASH}", "None"), row[3])
    for row in re.finditer(r"^\| `lock_(\w+)` \| (.*?) \| (.*) \|$", TEXT.split("### Settings")[0], re.M)
}


@pytest.mark.parametrize("option", OPTIONS.values(), ids=list(OPTIONS))
def test_the_readme_has_each_option_with_its_default(option: Option) -> None:
    default, _ = ROWS[option.name]

    assert default.strip("`").replace('"', "'") == repr(option.default)


def test_the_readme_has_no_other_option() -> None:
    assert ROWS.keys() == OPTIONS.keys()


@pytest.mark.parametrize("policy", ["skip", "retry", "fail", "coalesce", "replace"])
def test_the_readme_names_each_policy(policy: str) -> None:
    assert f'"{policy}"' in ROWS["on_conflict"][1]
