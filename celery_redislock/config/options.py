"""The tables of every lock option (its default, its unit, its check, its meaning) and of every policy.

A check takes what a user wrote and what its user calls it, returns what the code uses, or raises
ConfigurationError with that name. To add an option, add its row to ``OPTIONS``, its field to ``LockOptions``,
its heading to ``docs/reference/options.md`` and the row of its setting to ``docs/reference/settings.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from ..durations import to_ms
from ..engine import replicas
from ..errors import ConfigurationError
from .callables import path_of
from .lock_key import LockKey, checked_key, checked_keys
from .sharing import Limit, Sharing, checked_limit, checked_shared

__all__ = [
    "OF_BATCH",
    "OPTIONS",
    "POLICIES",
    "WHEN_PUBLISHING",
    "WHEN_RUNNING",
    "LockOptions",
    "Option",
    "Policy",
    "duration_ms",
    "refuse_contradictions",
]


@dataclass(frozen=True)
class Policy:
    """One word for `lock_on_conflict`: what a task does that meets a busy lock.

    What it does stands where it is done: ``conflicts/`` when a task is to run, ``publishing/duplicates.py``
    when it is published, ``batch/`` for a whole batch. Each has one function for each word.

    Attributes:
        word: As a user writes it.
        when_publishing: It can decide about a call that is published: `lock_scope` "queue" and "task".
        of_batch: A batch may have it.
        option: The lock option that no other policy reads; empty: none.
    """

    word: str
    when_publishing: bool
    of_batch: bool
    option: str = ""


POLICIES: Mapping[str, Policy] = {
    policy.word: policy
    for policy in (
        Policy("skip", when_publishing=True, of_batch=True),
        Policy("retry", when_publishing=False, of_batch=True, option="retry_for"),
        Policy("fail", when_publishing=True, of_batch=True),
        Policy("coalesce", when_publishing=True, of_batch=True, option="keep"),
        Policy("replace", when_publishing=False, of_batch=False, option="replace_after"),
    )
}


#: The words that are valid for a task; the same at its publication; for a batch.
WHEN_RUNNING = tuple(POLICIES)
WHEN_PUBLISHING = tuple(word for word, policy in POLICIES.items() if policy.when_publishing)
#: Words that work on the pending runs of one lock.
ONE_LOCK_ONLY = ("coalesce", "replace")
#: Words that need a lock that one run holds alone.
ONE_HOLDER_ONLY = ("coalesce", "replace")
OF_BATCH = tuple(word for word, policy in POLICIES.items() if policy.of_batch)


@dataclass(frozen=True)
class LockOptions:
    """What holds for one task or one call: checked, durations in milliseconds.

    Attributes:
        args: Arguments that make the key: None for all, () for none; always None beside a key.
        key: A full name as template, or a callable with the task's arguments; or what gives several locks;
            None: see ``args``.
        retry_delay_ms: First and largest delay.
        retry_for_ms: None: retry without end.
        max_hold_ms: No lease reaches beyond it, renewed or not; None: no bound.
    """

    args: tuple[str, ...] | None
    key: str | Callable[..., str] | tuple[LockKey, ...] | None
    ttl_ms: int
    wait_ms: int
    on_conflict: str | Callable[..., Any]
    retry_delay_ms: tuple[int, int]
    retry_for_ms: int | None
    min_hold_ms: int
    max_hold_ms: int | None
    mode: str
    on_lost: str
    on_error: str
    min_replicas: int
    scope: str
    queue_ttl_ms: int
    keep: str
    replace_after_ms: int
    shared: bool = False
    limit: Limit = None

    @property
    def sharing(self) -> Sharing:
        """How each lock is held that says nothing else."""
        return Sharing.declared(self.shared, self.limit)

    def not_default(self) -> dict[str, Any]:
        """Return what differs from the defaults, by option, as JSON types; durations in seconds."""
        return {
            option.name: option.told(value)
            for option in OPTIONS.values()
            if (value := getattr(self, option.field)) != option.check(option.default, option.name)
        }


def duration_ms(value: object, label: str, *, minimum_ms: int = 1) -> int:
    """Convert seconds or a timedelta to milliseconds, at least ``minimum_ms``."""
    if isinstance(value, str):
        raise ConfigurationError(
            f"{label} must be a number of seconds or a timedelta, not a str: "
            "convert values from the environment with float()"
        )
    return to_ms(value, label, minimum_ms=minimum_ms)


def _duration_or_none(value: object, label: str) -> int | None:
    """Convert like ``duration_ms``; None is "without limit"."""
    return None if value is None else duration_ms(value, label)


def _delays(value: object, label: str) -> tuple[int, int]:
    """Convert a pair of durations, the first not above the second, to milliseconds."""
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise ConfigurationError(f"{label} must be a pair of durations (first, largest), for example (1, 60)")
    first = duration_ms(value[0], f"the first delay in {label}")
    largest = duration_ms(value[1], f"the largest delay in {label}")
    if first > largest:
        raise ConfigurationError(f"{label}: the first delay must not exceed the largest")
    return first, largest


def _argument_names(value: object, label: str) -> tuple[str, ...] | None:
    """Accept a list or tuple of distinct names; None is "all arguments"."""
    if value is None:
        return None
    if not isinstance(value, list | tuple) or not all(
        isinstance(name, str) and name.isidentifier() for name in value
    ):
        raise ConfigurationError(
            f'{label} must be a list of argument names such as ["path"], '
            "() for one lock per task, or None for all arguments"
        )
    if len(set(value)) < len(value):
        raise ConfigurationError(f"{label} names an argument twice")
    return tuple(value)


def _key(value: object, label: str) -> str | Callable[..., str] | tuple[LockKey, ...] | None:
    """Accept one key, or a list of them; None is "no key of its own"."""
    if value is None:
        return None
    if isinstance(value, list | tuple):
        return checked_keys(value, label)
    if isinstance(value, LockKey):
        return (value,)
    return checked_key(value, label)


def _choice(choices: tuple[str, ...], value: object, label: str, *, or_else: str = "") -> str:
    """Accept one of the words; ``or_else`` tells what the caller accepts besides."""
    if isinstance(value, str) and value in choices:
        return value
    given = repr(value) if isinstance(value, str) else type(value).__name__
    valid = ", ".join(f'"{word}"' for word in choices)
    raise ConfigurationError(f"{label} must be {valid}{or_else}, not {given}")


def _conflict_policy(value: object, label: str) -> str | Callable[..., Any]:
    """Accept the name of a policy, or a callable with task and conflict."""
    if callable(value):
        return value
    return _choice(WHEN_RUNNING, value, label, or_else=" or a callable (task, conflict)")


@dataclass(frozen=True)
class Option:
    """One lock option: ``lock_<name>``, ``redislock_<name>`` and ``lock={"<name>": ...}``.

    Attributes:
        default: As a user would write it.
        unit: "s" for durations (the field of ``LockOptions`` then ends in ``_ms``), else "".
        check: (value, what its user calls it) -> what ``LockOptions`` holds.
        meaning: What it does, in one sentence or two of Markdown: the reference begins with them.
    """

    name: str
    default: object
    unit: str
    check: Callable[[object, str], Any]
    meaning: str

    @property
    def field(self) -> str:
        """The option's field in ``LockOptions``."""
        return f"{self.name}_ms" if self.unit == "s" else self.name

    def told(self, value: Any) -> Any:
        """Return what `check` has returned as a JSON type: a function by its path, a duration in seconds."""
        if callable(value):
            return path_of(value)
        if isinstance(value, LockKey):
            return value.told()
        if isinstance(value, tuple):
            return [self.told(each) for each in value]
        return value / 1000 if self.unit == "s" and value is not None else value


OPTIONS: Mapping[str, Option] = {
    option.name: option
    for option in (
        Option(
            "args",
            None,
            "",
            _argument_names,
            "Which arguments make the lock's name. `None` takes all of them, a list takes those it names, "
            "`()` takes none: one lock for the whole task.",
        ),
        Option(
            "key",
            None,
            "",
            _key,
            "A lock name of your own, in place of one made from the task's name and arguments. "
            "All tasks and batches with the same name exclude each other. A list gives several locks: a run "
            "has all of them or none.",
        ),
        Option(
            "ttl",
            30,
            "s",
            duration_ms,
            "Length of the lease. While the task runs, it is renewed three times in each `lock_ttl`. "
            "When a holder dies without releasing, the lock is free after this time at the latest.",
        ),
        Option(
            "wait",
            0,
            "s",
            partial(duration_ms, minimum_ms=0),
            "How long the worker slot waits for a busy lock before `lock_on_conflict` decides.",
        ),
        Option(
            "on_conflict",
            "skip",
            "",
            _conflict_policy,
            "What happens to a call that finds the lock busy: a policy's name, or a function that decides.",
        ),
        Option(
            "retry_delay",
            (1, 60),
            "s",
            _delays,
            'First and largest delay before a call is published again: after a conflict with `"retry"`, and '
            "while Redis cannot be reached.",
        ),
        Option(
            "retry_for",
            None,
            "s",
            _duration_or_none,
            "For how long a call is published again before it fails. `None` means: without end.",
        ),
        Option(
            "min_hold",
            0,
            "s",
            partial(duration_ms, minimum_ms=0),
            "The lock stays busy for at least this long after it was taken, also when the task ends sooner.",
        ),
        Option(
            "max_hold",
            None,
            "s",
            _duration_or_none,
            "The longest time for which a run can hold the lock. After it the lease ends, even if the task "
            "still runs. `None` means: no limit.",
        ),
        Option(
            "mode",
            "on",
            "",
            partial(_choice, ("on", "shadow", "off")),
            'Whether the task takes locks: `"on"` takes them; `"shadow"` takes them and reports conflicts, '
            'but runs every call; `"off"` takes none.',
        ),
        Option(
            "on_lost",
            "abort",
            "",
            partial(_choice, ("abort", "continue")),
            'What happens when the lock is lost while the task runs: `"abort"` raises `LockLost` in the '
            'body; `"continue"` lets it run on.',
        ),
        Option(
            "on_error",
            "retry",
            "",
            partial(_choice, ("retry", "fail", "run")),
            'What happens when Redis cannot be reached before the task begins: `"retry"` publishes it again '
            'with a delay; `"fail"` raises `StoreUnavailable`; `"run"` runs it without a lock.',
        ),
        Option(
            "min_replicas",
            0,
            "",
            replicas,
            "How many replicas must acknowledge the lock, and each renewal, before it counts (Redis `WAIT`).",
        ),
        Option(
            "scope",
            "run",
            "",
            partial(_choice, ("run", "queue", "task")),
            'What is limited to one: `"run"`: one call runs. `"queue"`: one call waits in the queue. '
            '`"task"`: one call waits or runs.',
        ),
        Option(
            "queue_ttl",
            3600,
            "s",
            duration_ms,
            'For `lock_scope` `"queue"` and `"task"`: how long a call may wait, once it is due, before an '
            "equal one can be published.",
        ),
        Option(
            "keep",
            "latest",
            "",
            partial(_choice, ("latest", "first")),
            'For `"coalesce"`: which of the calls that found the lock busy runs, the `"latest"` or the '
            '`"first"`.',
        ),
        Option(
            "replace_after",
            30,
            "s",
            partial(duration_ms, minimum_ms=0),
            'For `"replace"`: how long the running task has to stop by itself before it is terminated.',
        ),
        Option(
            "shared",
            False,
            "",
            checked_shared,
            "Whether others that share the lock may hold it at the same time. A task with the same "
            "`lock_key`, and with neither `lock_shared` nor `lock_limit`, holds it alone.",
        ),
        Option(
            "limit",
            None,
            "",
            checked_limit,
            "At most so many runs hold the lock at the same time. `None` means: one, or any number with "
            "`lock_shared`.",
        ),
    )
}


def refuse_contradictions(options: LockOptions, label: Callable[[str], str]) -> None:
    """Refuse options that cannot hold together, wherever they come from.

    Args:
        options: Of one task or call.
        label: An option's name -> what its user calls it.

    Raises:
        ConfigurationError: They cannot.
    """
    if options.max_hold_ms is not None and options.min_hold_ms > options.max_hold_ms:
        raise ConfigurationError(
            f"{label('min_hold')} must not exceed {label('max_hold')}: lower one or raise the other"
        )
    if isinstance(options.key, tuple):
        _refuse_for_several(options, options.key, label)
    elif options.sharing.is_shared:
        _refuse_for_shared(options, label)
    if options.scope != "run" and options.on_conflict not in WHEN_PUBLISHING:
        valid = " or ".join(f'"{word}"' for word in WHEN_PUBLISHING)
        raise ConfigurationError(
            f'{label("scope")} "{options.scope}" decides when a call is published, '
            f'and {label("on_conflict")} cannot decide then: use on_conflict {valid}, or scope "run"'
        )


def _refuse_for_shared(options: LockOptions, label: Callable[[str], str]) -> None:
    """Refuse what needs a lock that one run holds alone."""
    shared = label("shared" if options.limit is None else "limit")
    if options.on_conflict in ONE_HOLDER_ONLY:
        raise ConfigurationError(
            f'{shared} has several runs hold the lock, and {label("on_conflict")} "{options.on_conflict}" '
            'needs a lock that one holds alone: use "skip", "retry" or "fail"'
        )
    if options.scope != "run":
        raise ConfigurationError(
            f'{shared} has several runs hold the lock, and {label("scope")} "{options.scope}" needs a lock '
            'that one holds alone: use scope "run"'
        )


def _refuse_for_several(options: LockOptions, keys: tuple[LockKey, ...], label: Callable[[str], str]) -> None:
    """Refuse what is done with one lock only."""
    if options.on_conflict in ONE_LOCK_ONLY:
        raise ConfigurationError(
            f'{label("key")} is a list, and {label("on_conflict")} "{options.on_conflict}" needs one lock: '
            'use "skip", "retry" or "fail", or one key'
        )
    if options.scope != "run":
        raise ConfigurationError(
            f'{label("key")} is a list, and {label("scope")} "{options.scope}" needs one lock: '
            'use scope "run", or one key'
        )
    longest_ms = max(each.min_hold_ms or 0 for each in keys)
    if options.max_hold_ms is not None and longest_ms > options.max_hold_ms:
        raise ConfigurationError(
            f"min_hold of a LockKey in {label('key')} must not exceed {label('max_hold')}: "
            "lower one or raise the other"
        )
