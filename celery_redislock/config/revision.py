"""Revision: an app's settings as they were when they were read, to notice that they have changed since.

Tests, application factories and notebooks change the settings of an app that has been used already. Locks
that went on by the old ones would be kept on another Redis than everybody else's.
"""

from __future__ import annotations

from typing import Any

from celery import Celery

from . import under_test


class Revision:
    """The settings of an app as they are when this is made.

    It is asked with every call of a task. So it looks at which configuration the app has, and at what was set
    on the app itself. A dict that is changed in place, such as ``broker_transport_options``, is not noticed.
    """

    __slots__ = ("_changes", "_conf", "_under_test")

    def __init__(self, app: Celery) -> None:
        conf: Any = app.conf
        self._conf, self._changes, self._under_test = conf, dict(conf.changes), under_test.now

    def is_current(self, app: Celery) -> bool:
        """Whether no setting was set, and no configuration read, since then."""
        conf: Any = app.conf
        is_same = conf is self._conf and under_test.now is self._under_test
        return is_same and bool(conf.changes == self._changes)
