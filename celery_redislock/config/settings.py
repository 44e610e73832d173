"""The table of the settings beside those of the options: its name, its default, its meaning.

A setting of an option, ``redislock_ttl``, is the default of that option: see ``options.py``. What reads a
setting checks its value, too. To add a setting, add its row to ``SETTINGS``, and to
``docs/reference/settings.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["SETTINGS", "Setting"]


@dataclass(frozen=True)
class Setting:
    """One setting: ``redislock_<x>``; with Django ``CELERY_REDISLOCK_<X>``.

    Attributes:
        name: With ``redislock_``.
        default: As a user would write it; None: see `meaning`.
        meaning: What it does, in one sentence or two of Markdown: the reference shows it.
    """

    name: str
    default: object
    meaning: str

    def of(self, conf: Mapping[str, Any]) -> Any:
        """Return what the settings say, or the default."""
        value = conf.get(self.name)
        return self.default if value is None else value


SETTINGS: Mapping[str, Setting] = {
    setting.name: setting
    for setting in (
        Setting(
            "redislock_url",
            None,
            "Which Redis keeps the locks. Without it: `result_backend`, else `broker_url`, if that is Redis.",
        ),
        Setting("redislock_prefix", "redislock:", "What the Redis key of every lock begins with."),
        Setting(
            "redislock_client_options",
            {},
            'Further arguments of the Redis client, such as `{"socket_timeout": 0.5}`.',
        ),
        Setting(
            "redislock_events",
            None,
            'Celery events of locks for monitors: `"rare"`, `"all"` or `"off"`. Without it: `"rare"` where '
            "`worker_send_task_events` or `-E` is on, else none.",
        ),
        Setting(
            "redislock_beat_scheduler",
            "celery.beat:PersistentScheduler",
            "The scheduler that `LockedScheduler` wraps: a class, its import path, or its short name.",
        ),
        Setting(
            "redislock_beat_name",
            "beat",
            "Name of a group of beats. One beat of a group sends, the others stand by.",
        ),
        Setting(
            "redislock_beat_ttl",
            15,
            "Length of the lease of the beat that sends, in seconds; at least 1.",
        ),
        Setting(
            "redislock_stats",
            True,
            "Whether each process adds what happens to its locks to the statistics in Redis.",
        ),
        Setting(
            "redislock_metrics",
            [],
            'Which metrics are kept: `"prometheus"`, `"opentelemetry"`, or both. Each needs the extra of its '
            "name.",
        ),
        Setting(
            "redislock_metrics_port",
            None,
            "Where a worker or a beat serves its Prometheus metrics. Without it nothing is served.",
        ),
        Setting(
            "redislock_metrics_hold_buckets",
            None,
            "Upper bounds of the histogram of hold times, seconds. Without it: 0.05 to 21600, in 16 steps.",
        ),
        Setting(
            "redislock_doctor_ignore",
            {},
            "Rules of `locks doctor` that are silenced: by id, the reason, "
            'such as `{"RL103": "imports are safe"}`.',
        ),
        Setting(
            "redislock_traces",
            False,
            "Whether locks are seen in OpenTelemetry's traces. Needs the extra `opentelemetry`.",
        ),
    )
}
