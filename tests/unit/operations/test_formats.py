"""Formats: text of any script has the width that it has on a screen, and what is cut stays apart."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celery_redislock.operations.formats import (
    CUT,
    about,
    about_from_to,
    cut,
    cut_apart,
    duration,
    narrowest_apart,
    padded,
    printable,
    width_of,
)

WIDE = "\N{CJK UNIFIED IDEOGRAPH-8CA8}\N{CJK UNIFIED IDEOGRAPH-7269}"  # two characters, four columns
CYRILLIC = "\u0438\u043c\u043f\u043e\u0440\u0442"
ACCENT = "\N{COMBINING ACUTE ACCENT}"


@pytest.mark.parametrize(
    ("text", "width"),
    [("", 0), ("import", 6), ("\u0438\u043c\u043f\u043e\u0440\u0442", 6), (WIDE, 4), (f"e{ACCENT}", 1)],
)
def test_a_text_is_as_wide_as_on_a_screen(text: str, width: int) -> None:
    assert width_of(text) == width
    assert width_of(padded(text, 9)) == 9


def test_numbers_stand_at_the_right() -> None:
    assert padded("7", 3, is_number=True) == "  7"


def test_a_name_is_cut_in_its_middle() -> None:
    assert cut("redislock:shop.import_csv", 9) == f"redi{CUT}_csv"
    assert cut("short", 5) == "short"


@given(st.text(), st.integers(3, 12))
def test_what_is_cut_is_never_wider(text: str, width: int) -> None:
    assert width_of(cut(text, width)) <= width


@given(st.text(alphabet="ab" + WIDE + ACCENT), st.integers(3, 12))
def test_an_accent_stays_with_its_letter(text: str, width: int) -> None:
    assert CUT + ACCENT not in cut(text, width)


@given(st.sets(st.text(alphabet="ab:\N{CJK UNIFIED IDEOGRAPH-8CA8}", max_size=12)), st.integers(3, 8))
def test_no_two_names_look_the_same_when_cut(names: set[str], width: int) -> None:
    cutter = cut_apart(names, width)

    assert len({cutter(name) for name in names}) == len(names)


def test_a_cut_by_which_two_names_look_the_same_is_not_made() -> None:
    alike = ["account:1000:eur", "account:2000:eur"]

    cutter = cut_apart([*alike, "another:3:dollars"], 9)

    assert [cutter(name) for name in alike] == alike
    assert cutter("another:3:dollars") == f"anot{CUT}lars"


def test_a_column_is_as_wide_as_it_takes_to_tell_its_names_apart() -> None:
    names = ["shop.import_csv", "shop.export_csv", "mail"]

    width = narrowest_apart(names, 8)

    assert len({cut(name, width) for name in names}) == 3
    assert len({cut(name, width - 1) for name in names}) < 3


def test_what_would_steer_the_terminal_is_written_out() -> None:
    assert printable("a\x1b[31mb\n\u202e") == r"a\x1b[31mb\n\u202e"
    assert printable(WIDE) == WIDE


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0.0 s"),
        (28.14, "28.1 s"),
        (99.96, "1m 40s"),
        (252, "4m 12s"),
        (3599.7, "1h 00m"),
        (11_520, "3h 12m"),
        (187_200, "2d 4h"),
    ],
)
def test_a_duration_is_written_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0s"),
        (0.31, "0.3s"),
        (42, "42s"),
        (99.6, "2m"),
        (372, "6m"),
        (5_950, "2h"),
        (61_000, "17h"),
        (800_000, "9d"),
    ],
)
def test_how_long_something_takes_is_written_in_one_unit(seconds: float, text: str) -> None:
    assert about(seconds) == text


def test_from_when_to_when_says_a_unit_once() -> None:
    assert about_from_to(240, 372) == "4-6m"
    assert about_from_to(42, 372) == "42s-6m"
    assert about_from_to(240, 250) == "4m"
