"""Conflicts: a task cannot begin, and ends in an exception that Celery understands."""
