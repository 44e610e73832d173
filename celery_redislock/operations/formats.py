"""Formats: how wide a text is on a screen, how it is cut, and how durations and names are written."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable

#: Stands where something was cut out.
CUT = "\N{HORIZONTAL ELLIPSIS}"


def width_of(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    return sum(map(_width_of_character, text))


def _width_of_character(character: str) -> int:
    """Return 2 for what East Asian scripts write wide, 0 for an accent that stands on the one before it."""
    if unicodedata.category(character) in {"Mn", "Me"}:
        return 0
    return 2 if unicodedata.east_asian_width(character) in {"W", "F"} else 1


def padded(text: str, width: int, *, is_number: bool = False) -> str:
    """Return a text with as many spaces as it takes to be so wide: before a number, behind all else."""
    spaces = " " * (width - width_of(text))
    return spaces + text if is_number else text + spaces


def printable(text: str) -> str:
    r"""Return a text of others with what would steer the terminal written out, such as ``\x1b``."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def cut(text: str, width: int) -> str:
    """Return a text that is at most so wide, cut in its middle where it must be."""
    if width_of(text) <= width:
        return text
    behind = (width - width_of(CUT)) // 2
    tail = _begin_of(text[::-1], behind)[::-1]
    # An accent without its letter would stand on the sign of the cut.
    while tail and not _width_of_character(tail[0]):
        tail = tail[1:]
    return _begin_of(text, width - width_of(CUT) - behind) + CUT + tail


def _begin_of(text: str, width: int) -> str:
    """Return as much of the beginning of a text as fits."""
    taken = 0
    for place, character in enumerate(text):
        taken += _width_of_character(character)
        if taken > width:
            return text[:place]
    return text


def cut_apart(texts: Iterable[str], width: int) -> Callable[[str], str]:
    """Return what cuts these texts so that no two of them look the same; one that would is left as it is."""
    made = {text: cut(text, width) for text in set(texts)}
    times = Counter(made.values())
    return lambda text: made[text] if times[made[text]] == 1 else text


def narrowest_apart(texts: Iterable[str], width: int) -> int:
    """Return the least width, from this one on, to which these texts can be cut and still differ."""
    alike = set(texts)
    while True:
        made: dict[str, list[str]] = {}
        for text in alike:
            made.setdefault(cut(text, width), []).append(text)
        alike = {text for same in made.values() if len(same) > 1 for text in same}
        if not alike:
            return width
        width += 1


def duration(seconds: float) -> str:
    """Write a duration for people to read: ``28.1 s``, ``4m 12s``, ``3h 07m``, ``2d 4h``."""
    if seconds < 99.95:
        return f"{max(seconds, 0.0):.1f} s"
    minutes, rest_s = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days}d {hours}h"
    return f"{hours}h {minutes:02}m" if hours else f"{minutes}m {rest_s:02}s"


#: From so many seconds on, a unit is used, and how many seconds it has.
_UNITS = ((172_800, 86_400, "d"), (5_940, 3_600, "h"), (99.5, 60, "m"))


def about(seconds: float) -> str:
    """Write about how long something takes, in one unit: ``0.3s``, ``42s``, ``6m``, ``17h``."""
    return "".join(_in_one_unit(seconds))


def about_from_to(least_s: float, most_s: float) -> str:
    """Write about from when to when something takes: ``4-6m``, ``42s-3m``; one length if they are alike."""
    least, most = _in_one_unit(least_s), _in_one_unit(most_s)
    if least == most:
        return "".join(most)
    return f"{least[0]}-{most[0]}{most[1]}" if least[1] == most[1] else f"{''.join(least)}-{''.join(most)}"


def _in_one_unit(seconds: float) -> tuple[str, str]:
    """Return a number and its unit."""
    for least, of_unit, unit in _UNITS:
        if seconds >= least:
            return f"{seconds / of_unit:.0f}", unit
    return (f"{seconds:.0f}" if seconds >= 9.95 else f"{seconds:.1f}"), "s"
