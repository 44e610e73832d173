"""Beat: many beats, one of them sends: ``celery beat -S celery_redislock.beat:LockedScheduler``."""

from .scheduler import LockedScheduler

__all__ = ["LockedScheduler"]
