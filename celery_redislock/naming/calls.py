"""Calls: from a call of a task to the name of its lock.

Pure: a name depends on the call and on the task's options, never on the process or on the
serializer that carried the message.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from ..errors import ConfigurationError, LockKeyError
from .canonical import NotCanonical, canonical, type_name
from .parameters import Declared
from .template import Template

__all__ = ["Naming"]

#: 128 bits: among a billion locks of one task, two share a name by chance once in 10**21 cases.
_NAME_DIGITS = 32
_RECORD_DIGITS = 16


@dataclass(frozen=True)
class Naming:
    """How the calls of one task are named; made by `declare`.

    Attributes:
        task_name: The task, the scope of its lock names.
        declared: What its function takes, without ``self``.
        lock_args: The arguments that count; None: all.
        lock_key: What names the lock instead, free of the task's scope.
    """

    task_name: str
    declared: Declared
    lock_args: tuple[str, ...] | None
    lock_key: Template | Callable[..., Any] | None

    @classmethod
    def declare(
        cls,
        task_name: str,
        declared: Declared,
        *,
        lock_args: Sequence[str] | None,
        lock_key: str | Callable[..., str] | None,
    ) -> Naming:
        """Check the two options against the function.

        With ``**kwargs`` in the function, the options may have any name. Where a call does not give such an
        argument, `lock_args` leave it out of the name, and a template refuses the call.

        Args:
            task_name: The task's registered name.
            declared: What the task's function takes.
            lock_args: Names of arguments; empty: one lock for the whole task; None: all.
            lock_key: A template (``"import:{path}"``), a callable with the task's arguments, or
                None.

        Raises:
            ConfigurationError: An option is wrong, or both are given.
        """
        try:
            names, key = _checked_options(declared.signature, lock_args, lock_key)
        except ValueError as fault:
            raise ConfigurationError(f"task {task_name!r}: {fault}") from None
        return cls(task_name, declared, names, key)

    def name(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
        """Return the name of this call's lock, without ``redislock_prefix``.

        An argument that is not given, or is given its default as it was declared, is left out. With a
        template, ``1`` and ``"1"`` give the same text and so the same lock.

        Raises:
            TypeError: The call does not fit the function.
            LockKeyError: An argument, a template's field or a callable's result cannot be used.
        """
        arguments = self._bind(args, kwargs)
        if isinstance(self.lock_key, Template):
            return self._checked(self._rendered(self.lock_key, arguments))
        if self.lock_key is not None:
            return self._checked(self._called(self.lock_key, *self._for_lock_key(args, kwargs)))
        forms = self._forms(self._counted(arguments))
        return f"{self.task_name}:{_digest(forms)[:_NAME_DIGITS]}" if forms else self.task_name

    def args_hash(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
        """Return a short hash of all arguments, for records of a conflict; it never raises.

        Empty for a call that does not fit the function or has no canonical form.
        """
        try:
            return _digest(self._forms(self._flat(self._bind(args, kwargs))))[:_RECORD_DIGITS]
        except TypeError:  # LockKeyError is one
            return ""

    @cached_property
    def _plain(self) -> tuple[tuple[str, ...], frozenset[str], frozenset[str]] | None:
        """The parameters with a position, those with a keyword, and those that must be given.

        None for a function that takes any number of arguments.
        """
        parameters = self.declared.signature.parameters.values()
        if any(each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD) for each in parameters):
            return None
        return (
            tuple(each.name for each in parameters if _is_positional(each)),
            frozenset(each.name for each in parameters if each.kind is not each.POSITIONAL_ONLY),
            frozenset(each.name for each in parameters if each.default is each.empty),
        )

    @cached_property
    def _extras(self) -> str | None:
        return _extras_of(self.declared.signature)

    @cached_property
    def _default_values(self) -> dict[str, Any]:
        return {name: default.value for name, default in self.declared.defaults.items()}

    def _bind(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        # The usual call, many times as fast; of a call that does not fit, the signature says why.
        if self._plain is not None and len(args) <= len(self._plain[0]):
            positional, keywords, required = self._plain
            arguments = {**dict(zip(positional, args, strict=False)), **kwargs}
            is_once = len(arguments) == len(args) + len(kwargs)
            if is_once and kwargs.keys() <= keywords and required <= arguments.keys():
                return arguments
        try:
            return self.declared.signature.bind(*args, **kwargs).arguments
        except TypeError as error:
            raise TypeError(f"{self.task_name}() {error}") from None

    def _counted(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Return those arguments of a call that make its name, as far as they are given."""
        if self.lock_args is None:
            return self._flat(arguments)
        known = self._with_extras(arguments)
        return {name: known[name] for name in self.lock_args if name in known}

    def _flat(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments with each of ``**kwargs`` by itself, as if the function named it.

        With ``def f(a, /, **kwargs)`` a keyword may have the name of a parameter: it gets one of its own.
        """
        extras = self._extras
        if extras is None or extras not in arguments:
            return arguments
        given = dict(arguments)
        for name, value in given.pop(extras).items():
            given[f"**{name}" if name in self.declared.signature.parameters else name] = value
        return given

    def _with_extras(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments, and each of ``**kwargs`` that does not have the name of a parameter."""
        parameters = self.declared.signature.parameters
        extras = arguments.get(self._extras or "", {})
        return {**{name: value for name, value in extras.items() if name not in parameters}, **arguments}

    def _forms(self, arguments: dict[str, Any]) -> list[str]:
        """Return the canonical forms of what is given, without what is left to its default."""
        forms = []
        for name, value in arguments.items():
            default = self.declared.defaults.get(name)
            if default is not None and default.is_itself(value):
                continue
            model = self.declared.models.get(name)
            try:
                form = canonical(value if model is None else model.written(value))
            except NotCanonical as fault:
                raise LockKeyError(
                    f"task {self.task_name!r}: argument {name!r} (a {type_name(value)}) cannot be "
                    f"part of a lock's name: {fault}; leave it out with lock_args, or name the "
                    "lock with lock_key"
                ) from fault.__cause__
            if default is None or form != default.form:
                forms.append(f"{_quoted(name)}:{form}")
        return forms

    def _rendered(self, template: Template, arguments: dict[str, Any]) -> str:
        try:
            known = {**self._default_values, **self._with_extras(arguments)}
            return template.render({**known, **self._models_in(known)})
        except NotCanonical as fault:
            raise LockKeyError(f"task {self.task_name!r}: {fault}") from fault.__cause__

    def _models_in(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return those of the arguments that are models in the body, as models."""
        models = self.declared.models
        return {name: model.of(arguments[name]) for name, model in models.items() if name in arguments}

    def as_the_body_gets_them(
        self, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> tuple[Sequence[Any], Mapping[str, Any]]:
        """Return the arguments of a call with models where the body gets models.

        Raises:
            NotCanonical: An argument is no such model.
        """
        if not self.declared.models:
            return args, kwargs
        parameters = self.declared.signature.parameters.values()
        positional = [parameter.name for parameter in parameters if _is_positional(parameter)]
        by_position = self._models_in(dict(zip(positional, args, strict=False)))
        by_name = self._models_in(kwargs)
        given = [by_position.get(name, value) for name, value in zip(positional, args, strict=False)]
        return [*given, *args[len(given) :]], {**kwargs, **by_name}

    def _for_lock_key(
        self, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> tuple[Sequence[Any], Mapping[str, Any]]:
        try:
            return self.as_the_body_gets_them(args, kwargs)
        except NotCanonical as fault:
            raise LockKeyError(
                f"task {self.task_name!r}: lock_key cannot get its arguments: {fault}"
            ) from fault.__cause__

    def _called(self, lock_key: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        try:
            return lock_key(*args, **kwargs)
        except Exception as error:
            raise LockKeyError(f"task {self.task_name!r}: lock_key raised {type_name(error)}") from error

    def _checked(self, name: Any) -> str:
        if not isinstance(name, str):
            fault = f"returned a {type_name(name)}"
        elif not name:
            fault = "returned an empty name"
        elif not _is_utf8(name):
            fault = "returned text that is not valid Unicode"
        else:
            return str.__str__(name)
        raise LockKeyError(f"task {self.task_name!r}: lock_key {fault}; it must return a non-empty str")


def _digest(forms: list[str]) -> str:
    return hashlib.sha256(",".join(sorted(forms)).encode("ascii")).hexdigest()


# The parameters of tasks: always the same few.
_quoted = lru_cache(maxsize=4096)(json.dumps)


def _is_positional(parameter: inspect.Parameter) -> bool:
    return parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)


def _checked_options(
    signature: inspect.Signature, lock_args: object, lock_key: object
) -> tuple[tuple[str, ...] | None, Template | Callable[..., Any] | None]:
    if lock_args is not None and lock_key is not None:
        raise ValueError("lock_args and lock_key contradict each other: give only one of them")
    names = _checked_names(lock_args, signature)
    if isinstance(lock_key, str):
        template = Template.parse(lock_key)
        _check_known(template.arguments, signature)
        return names, template
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
    if _extras_of(signature):
        return
    for name in names:
        if name not in signature.parameters:
            valid = ", ".join(signature.parameters) or "none"
            raise ValueError(f"the function has no argument {name!r}; its arguments are: {valid}")


def _extras_of(signature: inspect.Signature) -> str | None:
    """Return the name of ``**kwargs``, if the function has it."""
    parameters = signature.parameters.values()
    return next((p.name for p in parameters if p.kind is p.VAR_KEYWORD), None)


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
