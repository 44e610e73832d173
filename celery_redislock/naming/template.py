"""Template: a `lock_key` such as ``"import:{order.id}"``, parsed once and rendered for each call."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from string import Formatter
from typing import Any

from .canonical import NotCanonical, plain_text, type_name

__all__ = ["Template"]

_FIELD = re.compile(r"([^\W\d]\w*)((?:\.[^\W\d]\w*|\[[^\[\]'\"]+\])*)")
_STEP = re.compile(r"\.(\w+)|\[([^\[\]]+)\]")


@dataclass(frozen=True)
class _Field:
    """One ``{order.id}`` or ``{row[id]}`` of a template."""

    text: str
    argument: str
    steps: tuple[tuple[str, str], ...]

    @classmethod
    def parse(cls, text: str) -> _Field:
        match = _FIELD.fullmatch(text)
        if match is None:
            raise ValueError(
                f"lock_key field {{{text}}} must name an argument, as in {{id}}, {{order.id}} or {{row[id]}}"
            )
        steps = tuple(_STEP.findall(match[2]))
        if any(name.startswith("_") for name in (match[1], *map("".join, steps))):
            raise ValueError(f"lock_key field {{{text}}}: names that begin with an underscore are private")
        return cls(text, match[1], steps)

    def render(self, arguments: Mapping[str, Any]) -> str:
        try:
            value = arguments[self.argument]
            for attribute, item in self.steps:
                value = getattr(value, attribute) if attribute else _item(value, item)
            text = plain_text(value)
        except Exception as error:
            raise NotCanonical(
                f"reading lock_key field {{{self.text}}} raised {type_name(error)}; each call must have it"
            ) from error
        if text is None:
            raise NotCanonical(
                f"lock_key field {{{self.text}}} is a {type_name(value)}, but must be a finite "
                "number, text, bool, date, UUID or an enum of these"
            )
        return text


@dataclass(frozen=True)
class Template:
    """A ``lock_key`` text: literals, each with the field that follows it."""

    pieces: tuple[tuple[str, _Field | None], ...]

    @classmethod
    def parse(cls, text: str) -> Template:
        """Read a template.

        Raises:
            ValueError: It is none.
        """
        if not text:
            raise ValueError("lock_key is empty: write a name, as in 'import:{path}'")
        try:
            parsed = list(Formatter().parse(text))
        except ValueError as error:
            raise ValueError(f"lock_key is not a template: {error}") from None
        if any(spec or conversion for _, _, spec, conversion in parsed):
            raise ValueError("lock_key must not have conversions (!r) or format specs (:d)")
        pieces = [
            (literal, None if field is None else _Field.parse(field)) for literal, field, _, _ in parsed
        ]
        return cls(tuple(pieces))

    @property
    def arguments(self) -> list[str]:
        """The names of the arguments that it reads."""
        return [field.argument for _, field in self.pieces if field]

    def render(self, arguments: Mapping[str, Any]) -> str:
        """Return the name that the arguments of a call give.

        Raises:
            NotCanonical: An argument is missing, or is no plain value.
        """
        return "".join(literal + (field.render(arguments) if field else "") for literal, field in self.pieces)


def _item(container: Any, key: str) -> Any:
    """Return ``container[key]``, of a dict also with the key 0 that JSON made into "0"; adds no key to it."""
    position = int(key) if key.isdecimal() else key
    if not isinstance(container, dict):
        return container[position]
    known = position if position in container else key
    if known not in container:
        raise KeyError(key)
    return container[known]
