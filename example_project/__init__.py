"""A Celery project as a user would have it: six uses of the lock, and a demo of the difference."""
