"""Resolution: which lock options hold for a task, or for one call of it.

An option has one word and four places, strongest first: ``lock={"ttl": 5}`` of a call, ``lock_ttl``
of the task, ``redislock_ttl`` in the settings, the default in ``OPTIONS``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from ..errors import ConfigurationError
from .options import OPTIONS, POLICIES, LockOptions, Option, refuse_contradictions
from .unknown_settings import spelled, unknown

__all__ = ["declared_options", "resolve"]

#: Two ways to say which calls share a lock: who gives one replaces both.
_WHICH_CALLS = frozenset({"args", "key"})

#: Public methods of LockedTask that look like options.
_METHODS = ("lock_name", "lock_names", "lock_for")


@dataclass(frozen=True)
class _Level:
    """One of the places where options are given.

    Attributes:
        spell: An option's name -> how it is written there: as it is, or with its prefix.
        before, after: What makes a description of it.
    """

    values: Mapping[str, Any]
    spell: Callable[[object], str]
    before: str
    after: str

    def label(self, name: object) -> str:
        return f"{self.before}{self.spell(name)}{self.after}"


def declared_options(task_class_or_task: object) -> dict[str, Any]:
    """Collect the ``lock_<x>`` attributes set on a task or any of its classes, by option name.

    The most derived class wins; its ``lock_key`` or ``lock_args`` replaces both of its bases. An
    attribute set to None is declared. Values are not checked here but by ``resolve``.

    Raises:
        ConfigurationError: A ``lock_*`` attribute is no option.
    """
    task = task_class_or_task
    cls = task if isinstance(task, type) else task.__class__
    places: list[Mapping[str, Any]] = [vars(base) for base in cls.__mro__]
    if cls is not task:
        places.insert(0, vars(task))
    owner = f" of task {getattr(task, 'name', None) or cls.__name__!r}"
    declared: dict[str, Any] = {}
    for attributes in places:
        found = {
            name.removeprefix("lock_"): value
            for name, value in attributes.items()
            if name.startswith("lock_") and not (name in _METHODS and _is_method(value))
        }
        _refuse_unknown_options(_Level(found, "lock_{}".format, "", owner))
        if declared.keys() & _WHICH_CALLS:
            found = {name: found[name] for name in found.keys() - _WHICH_CALLS}
        declared = found | declared
    return declared


def resolve(
    conf: Mapping[str, Any],
    task_name: str,
    declared: Mapping[str, Any],
    per_call: Mapping[str, Any] | None = None,
) -> LockOptions:
    """Check and merge the options of a task, or of one call of it.

    Args:
        conf: The app's configuration; only ``get`` is used, and None means not set.
        task_name: For messages.
        declared: What ``declared_options`` returned.
        per_call: The ``lock`` of ``apply_async``.

    Raises:
        ConfigurationError: A value that counts is wrong, an option is unknown, or options contradict
            each other: ``key`` with ``args`` in one place; on one task or call an option that its
            ``on_conflict`` never reads (between places it is an override); a ``min_hold`` above
            ``max_hold``, or a ``scope`` with an ``on_conflict`` that cannot decide when publishing,
            wherever they come from.
    """
    if not isinstance(per_call, Mapping | None):
        raise ConfigurationError(
            f'lock= of a call of task {task_name!r} must be a dict of options such as {{"ttl": 5}}, '
            f"not {type(per_call).__name__}"
        )
    of_call = _Level(per_call or {}, str, 'lock={"', f'": ...}} of a call of task {task_name!r}')
    of_task = _Level(declared, "lock_{}".format, "", f" of task {task_name!r}")
    for level in (of_call, of_task):
        _refuse_unknown_options(level)
        _refuse_what_no_policy_reads(level)
    of_settings = _Level(
        _option_settings(conf), lambda name: spelled(conf, f"redislock_{name}"), "", " setting"
    )
    defaults = _Level({name: option.default for name, option in OPTIONS.items()}, str, "default ", "")
    levels = (of_call, of_task, of_settings, defaults)
    for level in levels:
        _refuse_key_with_args(level)
    checked = {option.field: _effective(option, levels) for option in OPTIONS.values()}
    options = LockOptions(**checked)
    refuse_contradictions(options, lambda name: _source(name, levels).label(name))
    return options


def _option_settings(conf: Mapping[str, Any]) -> dict[str, Any]:
    values = {name: conf.get(f"redislock_{name}") for name in OPTIONS}
    return {name: value for name, value in values.items() if value is not None}


def _source(name: str, levels: tuple[_Level, ...]) -> _Level:
    names = _WHICH_CALLS if name in _WHICH_CALLS else {name}
    return next(level for level in levels if level.values.keys() & names)


def _effective(option: Option, levels: tuple[_Level, ...]) -> Any:
    level = _source(option.name, levels)
    return option.check(level.values.get(option.name), level.label(option.name))


def _refuse_unknown_options(level: _Level) -> None:
    for name in level.values:
        if name not in OPTIONS:
            word = str(name).removeprefix("lock_")
            meant = ["key"] if f"lock_{word}" in _METHODS else get_close_matches(word, OPTIONS)
            written = [[level.spell(option) for option in names] for names in (meant, OPTIONS)]
            raise unknown(level.label(name), "lock option", *written)


def _refuse_key_with_args(level: _Level) -> None:
    if level.values.get("key") is not None and level.values.get("args") is not None:
        raise ConfigurationError(
            f"{level.label('key')} and {level.label('args')} contradict each other: give only one of them"
        )


def _refuse_what_no_policy_reads(level: _Level) -> None:
    if (policy := level.values.get("on_conflict")) is None or callable(policy):
        return
    for other in POLICIES.values():
        name = other.option
        if other.word != policy and level.values.get(name) is not None:
            raise ConfigurationError(
                f"{level.label(name)} has no effect, because {level.label('on_conflict')} is not "
                f'"{other.word}": use "{other.word}" or a callable, or remove {name}'
            )


def _is_method(value: object) -> bool:
    return callable(value) or isinstance(value, property | classmethod)
