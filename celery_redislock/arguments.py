"""Arguments: from a call of a task to the name of its lock.

Pure: a name depends on the call and on the task's options, never on the process or on the
serializer that carried the message.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from string import Formatter
from typing import Any

from .canonical import Refused, canonical, plain_text, type_name
from .errors import ConfigurationError, LockKeyError

__all__ = ["Naming"]

#: 128 bits: among a billion locks of one task, two share a name by chance once in 10**21 cases.
_NAME_DIGITS = 32
_RECORD_DIGITS = 16

_FIELD = re.compile(r"([^\W\d]\w*)((?:\.[^\W\d]\w*|\[[^\[\]'\"]+\])*)")
_STEP = re.compile(r"\.(\w+)|\[([^\[\]]+)\]")


@dataclass(frozen=True)
class Naming:
    """How the calls of one task are named; made by `declare`.

    Attributes:
        task_name: The task, the scope of its lock names.
        signature: What its function takes, without ``self``.
        lock_args: The arguments that count; None: all.
        lock_key: What names the lock instead, free of the task's scope.
    """

    task_name: str
    signature: inspect.Signature
    lock_args: tuple[str, ...] | None
    lock_key: _Template | Callable[..., Any] | None

    @classmethod
    def declare(
        cls,
        task_name: str,
        signature: inspect.Signature,
        *,
        lock_args: Sequence[str] | None,
        lock_key: str | Callable[..., str] | None,
    ) -> Naming:
        """Check the two options against the function.

        A function with ``**kwargs`` may be given names that only a call can have: one that is
        absent then is left out of the name by `lock_args`, and refused by a template.

        Args:
            task_name: The task's registered name.
            signature: ``inspect.signature(task.run)``.
            lock_args: Names of arguments; empty: one lock for the whole task; None: all.
            lock_key: A template (``"import:{path}"``), a callable with the task's arguments, or
                None.

        Raises:
            ConfigurationError: An option is wrong, or both are given.
        """
        try:
            names, key = _checked_options(signature, lock_args, lock_key)
        except ValueError as fault:
            raise ConfigurationError(f"task {task_name!r}: {fault}") from None
        return cls(task_name, signature, names, key)

    def lock_name(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
        """Return the lock's name for this call, without ``redislock_prefix``.

        With a template, ``1`` and ``"1"`` give the same text and so the same lock.

        Raises:
            TypeError: The call does not fit the function.
            LockKeyError: An argument, a template's field or a callable's result cannot be used.
        """
        arguments = self._bind(args, kwargs)
        if isinstance(self.lock_key, _Template):
            return self._checked(self._rendered(self.lock_key, arguments))
        if self.lock_key is not None:
            return self._checked(self._called(self.lock_key, args, kwargs))
        if self.lock_args is not None:
            known = self._with_extras(arguments)
            arguments = {name: known[name] for name in self.lock_args if name in known}
        if not arguments:
            return self.task_name
        return f"{self.task_name}:{self._digest(arguments)[:_NAME_DIGITS]}"

    def args_hash(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
        """Return a short hash of all arguments, for records of a conflict; it never raises.

        Empty for a call that does not fit the function or has no canonical form.
        """
        try:
            return self._digest(self._bind(args, kwargs))[:_RECORD_DIGITS]
        except TypeError:  # LockKeyError is one
            return ""

    @cached_property
    def _places(self) -> tuple[str, ...] | None:
        """The parameters by their places; None where a call cannot give all of them by place."""
        parameters = self.signature.parameters.values()
        return tuple(each.name for each in parameters) if all(map(_has_place, parameters)) else None

    def _bind(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        # Nearly always, and many times as fast.
        if not kwargs and self._places is not None and len(args) == len(self._places):
            return dict(zip(self._places, args, strict=True))
        try:
            bound = self.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self.task_name}() {error}") from None
        bound.apply_defaults()
        return bound.arguments

    def _with_extras(self, arguments: dict[str, Any]) -> dict[str, Any]:
        extras = _extras(self.signature)
        return {**arguments[extras], **arguments} if extras else arguments

    def _digest(self, arguments: dict[str, Any]) -> str:
        forms = []
        for name, value in arguments.items():
            try:
                forms.append(f"{_quoted(name)}:{canonical(value)}")
            except Refused as refused:
                raise LockKeyError(
                    f"task {self.task_name!r}: argument {name!r} (a {type_name(value)}) cannot be "
                    f"part of a lock's name: {refused}; leave it out with lock_args, or name the "
                    "lock with lock_key"
                ) from refused.__cause__
        return hashlib.sha256(",".join(sorted(forms)).encode("ascii")).hexdigest()

    def _rendered(self, template: _Template, arguments: dict[str, Any]) -> str:
        try:
            return template.render(self._with_extras(arguments))
        except Refused as refused:
            raise LockKeyError(f"task {self.task_name!r}: {refused}") from refused.__cause__

    def _called(self, lock_key: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        try:
            return lock_key(*args, **kwargs)
        except Exception as error:
            raise LockKeyError(f"task {self.task_name!r}: lock_key raised {type_name(error)}") from error

    def _checked(self, name: Any) -> str:
        if not isinstance(name, str):
            fault = f"gave a {type_name(name)}"
        elif not name:
            fault = "gave an empty name"
        elif not _is_utf8(name):
            fault = "gave text that is not valid Unicode"
        else:
            return str.__str__(name)
        raise LockKeyError(f"task {self.task_name!r}: lock_key {fault}; it must give a non-empty str")


# The parameters of tasks: always the same few.
_quoted = lru_cache(maxsize=4096)(json.dumps)


def _has_place(parameter: inspect.Parameter) -> bool:
    return parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)


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
            raise ValueError(f"lock_key field {{{text}}}: names with an underscore are private")
        return cls(text, match[1], steps)

    def render(self, arguments: Mapping[str, Any]) -> str:
        try:
            value = arguments[self.argument]
            for attribute, item in self.steps:
                value = getattr(value, attribute) if attribute else _item(value, item)
            text = plain_text(value)
        except Exception as error:
            raise Refused(
                f"reading lock_key field {{{self.text}}} raised {type_name(error)}; each call must have it"
            ) from error
        if text is None:
            raise Refused(
                f"lock_key field {{{self.text}}} is a {type_name(value)}, but must be a finite "
                "number, text, bool, date, UUID or an enum of these"
            )
        return text


@dataclass(frozen=True)
class _Template:
    """A ``lock_key`` text: literals, each with the field that follows it."""

    pieces: tuple[tuple[str, _Field | None], ...]

    @classmethod
    def parse(cls, text: str, signature: inspect.Signature) -> _Template:
        if not text:
            raise ValueError("lock_key is empty: write a name, as in 'import:{path}'")
        try:
            parsed = list(Formatter().parse(text))
        except ValueError as error:
            raise ValueError(f"lock_key is not a template: {error}") from None
        if any(spec or conversion for _, _, spec, conversion in parsed):
            raise ValueError("lock_key may not have conversions (!r) or format specs (:d)")
        pieces = [
            (literal, None if field is None else _Field.parse(field)) for literal, field, _, _ in parsed
        ]
        _check_known((field.argument for _, field in pieces if field), signature)
        return cls(tuple(pieces))

    def render(self, arguments: Mapping[str, Any]) -> str:
        return "".join(literal + (field.render(arguments) if field else "") for literal, field in self.pieces)


def _checked_options(
    signature: inspect.Signature, lock_args: object, lock_key: object
) -> tuple[tuple[str, ...] | None, _Template | Callable[..., Any] | None]:
    if lock_args is not None and lock_key is not None:
        raise ValueError("lock_args and lock_key exclude each other: keep one of them")
    names = _checked_names(lock_args, signature)
    if isinstance(lock_key, str):
        return names, _Template.parse(lock_key, signature)
    if lock_key is not None and not callable(lock_key):
        raise ValueError(f"lock_key must be a str or a callable, not a {type_name(lock_key)}")
    return names, lock_key


def _checked_names(names: object, signature: inspect.Signature) -> tuple[str, ...] | None:
    if names is None:
        return None
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise ValueError("lock_args must be a list of argument names, as in lock_args=['path']")
    _check_known(names, signature)
    return tuple(names)


def _check_known(names: Iterable[str], signature: inspect.Signature) -> None:
    if _extras(signature):
        return
    for name in names:
        if name not in signature.parameters:
            valid = ", ".join(signature.parameters) or "none"
            raise ValueError(f"the function has no argument {name!r}; its arguments are: {valid}")


def _extras(signature: inspect.Signature) -> str | None:
    """The name of ``**kwargs``, if the function has it."""
    parameters = signature.parameters.values()
    return next((p.name for p in parameters if p.kind is p.VAR_KEYWORD), None)


def _item(container: Any, key: str) -> Any:
    """``container[key]``, also where JSON made a dict's key 0 into "0"; no dict grows by it."""
    position = int(key) if key.isdecimal() else key
    if not isinstance(container, dict):
        return container[position]
    known = position if position in container else key
    if known not in container:
        raise KeyError(key)
    return container[known]


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
