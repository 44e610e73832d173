"""Canonical: from a value to the text that stands for it in a lock's name.

The text is the same at the publisher and in the worker, so it follows what serializers do. JSON makes lists
of tuples, text of dict keys, and plain values of enums that are also ``str`` or ``int``. Dates, ``Decimal``,
``UUID`` and bytes arrive as they were, or cannot be sent at all. Dates count as their ISO text, because
encoders other than kombu's send just that.

An object that defines ``__json__``, or whose type is registered with kombu, counts as what that makes of
it. What only the encoder of another serializer knows (a lazy translation) has no canonical form.
"""

from __future__ import annotations

import json
import math
from datetime import date, datetime, time
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal
from enum import Enum
from typing import Any
from uuid import UUID

from kombu.utils.json import JSONEncoder

__all__ = ["NotCanonical", "canonical", "plain_text", "type_name"]

#: Fixed, not Python's recursion limit: publisher and worker must refuse the same calls.
_MAX_DEPTH = 100


class NotCanonical(Exception):
    """A value has no canonical form, and cannot be part of a name; the message shows types, never a value."""


def canonical(value: Any, inside: tuple[int, ...] = ()) -> str:
    """Return the text of a value; two values share it when some serializer makes one value of them.

    It is JSON where JSON has the type, else text that is never JSON: ``set[...]``, ``bytes"..."``. Objects of
    other types, NaN, containers that contain themselves or are nested too deep, and dicts with two keys of
    which JSON makes one are refused.

    Args:
        value: An argument of a call, or a part of one.
        inside: The ids of the containers around it.

    Raises:
        NotCanonical: It has no such text.
    """
    text = _json_text(value)
    if text is not None:
        return "0.0" if text == "-0.0" else text
    inside = _entered(value, inside)
    if isinstance(value, dict):
        return _canonical_dict(value, inside)
    if isinstance(value, list | tuple):
        return f"[{','.join([canonical(item, inside) for item in value])}]"
    if isinstance(value, set | frozenset):
        return f"set[{','.join(sorted({canonical(item, inside) for item in value}))}]"
    if hasattr(type(value), "__json__"):
        return canonical(_as_json(value), inside)
    if isinstance(value, Enum):
        return canonical(value.value, inside)
    return _tagged(value, inside)


def plain_text(value: Any) -> str | None:
    """Return how a template writes a plain, finite scalar; None for all else."""
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, bool | UUID):
        return str(value)
    if isinstance(value, int):
        return _digits(value)
    if isinstance(value, float | Decimal):
        return _finite_text(value)
    if isinstance(value, date | time):
        return _iso(value)
    return plain_text(value.value) if isinstance(value, Enum) else None


def type_name(value: object) -> str:
    """Return the name of a value's type, with its module unless it is built in."""
    kind = type(value)
    module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    return f"{module}{kind.__qualname__}"


def _entered(value: Any, inside: tuple[int, ...]) -> tuple[int, ...]:
    if id(value) in inside:
        raise NotCanonical("it contains itself")
    if len(inside) >= _MAX_DEPTH:
        raise NotCanonical(f"it is nested deeper than {_MAX_DEPTH} levels")
    return (*inside, id(value))


def _json_text(value: Any) -> str | None:
    """Return the text of JSON's own scalars, of a subclass what JSON would send; None for all else."""
    if value.__class__ is not type(value):
        raise NotCanonical(f"a {type_name(value)} is a proxy of another object")
    if value is None or isinstance(value, bool | str):
        return json.dumps(value)
    if isinstance(value, int):
        return _digits(value)
    if isinstance(value, float):
        if math.isnan(value):
            raise NotCanonical("NaN is not equal to itself")
        return json.dumps(value)
    return None


def _canonical_dict(value: dict[Any, Any], inside: tuple[int, ...]) -> str:
    forms: dict[str, str] = {}
    for key, item in value.items():
        text = _canonical_key(key, inside)
        if text in forms:
            raise NotCanonical("two of its dict keys become the same text in JSON")
        forms[text] = canonical(item, inside)
    return f"{{{','.join(f'{key}:{form}' for key, form in sorted(forms.items()))}}}"


def _canonical_key(key: Any, inside: tuple[int, ...]) -> str:
    text = _json_text(key)  # -0.0 stays: JSON sends "-0.0", which nobody could turn back
    if text is not None:
        return text if isinstance(key, str) else json.dumps(text)
    if isinstance(key, Enum):
        return _canonical_key(key.value, inside)
    return canonical(key, inside)


def _as_json(value: Any) -> Any:
    try:
        return value.__json__()
    except Exception as error:
        raise NotCanonical(f"the __json__ of {type_name(value)} raised {type_name(error)}") from error


def _tagged(value: Any, inside: tuple[int, ...]) -> str:
    if isinstance(value, date | time):
        return json.dumps(_iso(value))
    if isinstance(value, Decimal):
        return f'decimal"{_exact(value)}"'
    if isinstance(value, UUID):
        return f'uuid"{value.hex}"'
    if isinstance(value, bytes | bytearray | memoryview):
        return f'bytes"{bytes(value).hex()}"'
    return canonical(_registered(value), inside)


def _registered(value: Any) -> Any:
    """Return what kombu sends for an object of a type that was registered with it."""
    try:
        return JSONEncoder().default(value)
    except Exception:  # noqa: BLE001 - the error of a user's encoder may show the value
        raise NotCanonical(f"a {type_name(value)} cannot be turned into the same text each time") from None


def _iso(value: date | time) -> str:
    # The base class's own method: pandas adds nanoseconds, which no serializer carries.
    kinds: tuple[Any, ...] = (datetime, date, time)
    text: str = next(kind for kind in kinds if isinstance(value, kind)).isoformat(value)
    return text


def _exact(value: Decimal) -> str:
    """Return one text for equal decimals, such as 1.0 and 1.00; nothing is rounded."""
    if value.is_nan():
        raise NotCanonical("NaN is not equal to itself")
    roomy = Context(prec=len(value.as_tuple().digits), Emax=MAX_EMAX, Emin=MIN_EMIN)
    return str(value.normalize(roomy) if value else Decimal())


def _finite_text(value: float | Decimal) -> str | None:
    if isinstance(value, Decimal):
        return str(value or value.copy_abs()) if value.is_finite() else None
    return float.__repr__(value or 0.0) if math.isfinite(value) else None


def _digits(value: int) -> str:
    return str(Decimal(value))  # str(int) stops at 4300 digits
