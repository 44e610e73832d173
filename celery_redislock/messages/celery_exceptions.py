"""Celery exceptions: what Celery is told in place of a result, when a run ends early or without its body.

=============  =========================================  ==================================================
outcome        state that is stored                       raised by
=============  =========================================  ==================================================
`Skipped`      ``REVOKED`` with the reason                ``conflicts/conflict.py``: skip, and a task that
                                                          another one supersedes;
                                                          ``pending/replacement.py``: a holder that was
                                                          asked to stop
`ComesAgain`   ``RETRY``; of a pending run, the state     ``messages/republish.py``: a retry after a
               that it had                                conflict or an outage; ``conflicts/conflict.py``:
                                                          coalesce and replace
`PutOff`       none: the result is that of another run    ``conflicts/redelivery.py``
               of this message
`Done`         none: the result is there                  ``conflicts/redelivery.py``
`Obsolete`     none: the result is that of another        ``pending/record.py``
               message, or is stored already
=============  =========================================  ==================================================

Celery takes each of them as `Ignore`: it stores nothing itself, and calls neither `on_failure` nor
`after_return`. They travel from a child of the worker to its parent, so each has nothing but its reason.
"""

from __future__ import annotations

from celery.exceptions import Ignore

__all__ = ["ComesAgain", "Done", "LockFreed", "Obsolete", "PutOff", "Skipped"]


class Skipped(Ignore):
    """The task will not run; its result says why."""


class ComesAgain(Ignore):
    """The task runs later: it was published again, or is pending until the lock is free."""


class PutOff(Ignore):
    """The message was published again: an earlier run of it may still hold the lock."""


class Done(Ignore):
    """An earlier delivery of this message has finished the task."""


class Obsolete(Ignore):
    """Another message of this task counts, or another run supersedes it."""


class LockFreed(Exception):
    """The lock became free before a conflict was settled: the run asks for it again. Celery never sees it."""
