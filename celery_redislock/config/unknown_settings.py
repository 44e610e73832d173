"""Unknown settings: names like ours that nobody reads are refused, with the name to write instead."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from ..errors import ConfigurationError
from .options import OPTIONS
from .settings import SETTINGS

#: Every setting that this version reads.
_SETTINGS = (*SETTINGS, *(f"redislock_{name}" for name in OPTIONS))

#: A setting of ours, also in spellings that Celery does not read.
_OUR_SETTING = re.compile(r"(?:celery_)?(redislock_\w+)", re.IGNORECASE)

#: A name close to one of ours: refused where ours is meant; else it belongs to somebody else.
_NEARLY_OURS = re.compile(r"(?:celery_)?redis_?lock_?(\w+)", re.IGNORECASE)

#: Prefixes that are written in place of ``lock_`` before an option of a task.
_OTHER_PREFIX = re.compile(r"(?!lock_)(?i:redislock_|lock_)")

#: Words that say what they mean also without ``redislock_``. The others may be a variable of the settings
#: module, which Celery cannot tell from a setting; where they are set on the app, all of ours are meant.
_TELLING = frozenset({"ttl", *(word for word in OPTIONS if "_" in word)})


def spelled(conf: Mapping[str, Any], name: str) -> str:
    """Return how a setting is written in the user's own settings: ``CELERY_REDISLOCK_TTL`` with Django."""
    prefix = getattr(conf, "prefix", None) or ""  # "CELERY_" after namespace="CELERY"
    if name in getattr(conf, "changes", ()):
        return name  # set on the app itself
    return f"{prefix}{name}".upper() if prefix.isupper() else f"{prefix}{name}"


def unknown(label: str, kind: str, meant: Iterable[str], valid: Iterable[str]) -> ConfigurationError:
    """Return the error for a name that is none of ours, with the one that was meant and all valid ones."""
    guess = "".join(f" did you mean {word!r}?" for word in [*meant][:1])
    return ConfigurationError(f"{label} is not a {kind};{guess} valid: {', '.join(valid)}")


def refuse_options_without_prefix(task_class: type, task_name: str) -> None:
    """Refuse a word of ours that a declared task was given as an attribute without ``lock_`` before it.

    What Celery or a class of the user's own knows by that word goes on.

    Raises:
        ConfigurationError: It was.
    """
    if "lock" in vars(task_class):
        raise ConfigurationError(
            f"lock of task {task_name!r} is an argument of a call, not an option of a task: "
            'write the options one by one, such as "lock_ttl=5"'
        )
    for name in vars(task_class):
        word = name.lower().removeprefix("redislock_").removeprefix("lock_")
        if _OTHER_PREFIX.match(name) and word in OPTIONS:
            raise ConfigurationError(
                f"{name} of task {task_name!r} is not a task option; did you mean 'lock_{word}'?"
            )
    inherited = {name for base in task_class.__mro__[1:] for name in vars(base)}
    for word in OPTIONS:
        if word in vars(task_class) and word not in inherited:
            raise ConfigurationError(
                f"{word} of task {task_name!r} is not an option of Celery and would be ignored; did you mean "
                f"'lock_{word}'? (In a call, write lock={{\"{word}\": ...}}.)"
            )


def check_unknown_settings(conf: Mapping[str, Any]) -> None:
    """Refuse settings of ours that would be ignored.

    Names that a later version may know are unknown to this one, and refused too. So is a known
    one in a spelling that Celery does not read (``REDISLOCK_TTL`` without a namespace), or without
    its ``redislock_``, unless the right spelling is there as well.

    Raises:
        ConfigurationError: With the valid names.
    """
    for written in list(conf):  # Celery loads its configuration, and learns the prefix, when first asked
        name = _meant_by(conf, str(written))
        if name is None:
            continue
        right = spelled(conf, name)
        if written in (name, right):
            if name not in _SETTINGS:
                raise _unknown_setting(conf, name, right)
        elif name in _SETTINGS and conf.get(name) is None:
            raise ConfigurationError(f"Celery does not read the setting {written}: write {right}")


def _meant_by(conf: Mapping[str, Any], written: str) -> str | None:
    """Return the setting of ours that a name stands for, in Celery's own spelling; None for other names."""
    prefix = getattr(conf, "prefix", None) or ""
    bare = written.removeprefix(prefix)
    found = _OUR_SETTING.fullmatch(bare)
    if found:
        return found[1].lower()
    is_on_app = written in getattr(conf, "changes", ())
    if not is_on_app and prefix and bare == written:
        return None  # none of Celery's: the user's own
    nearly = _NEARLY_OURS.fullmatch(bare)
    if nearly and f"redislock_{nearly[1].lower()}" in _SETTINGS:
        return f"redislock_{nearly[1].lower()}"
    word = bare.lower() if prefix.isupper() else bare
    known = OPTIONS if is_on_app else _TELLING
    option = word.removeprefix("lock_")
    return f"redislock_{option}" if option in (OPTIONS if option != word else known) else None


def _unknown_setting(conf: Mapping[str, Any], name: str, right: str) -> ConfigurationError:
    meant, valid = (
        [spelled(conf, setting) for setting in settings]
        for settings in (get_close_matches(name, _SETTINGS), _SETTINGS)
    )
    return unknown(f"{right} setting", "setting of celery_redislock", meant, valid)
