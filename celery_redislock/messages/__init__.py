"""Messages: what we write into Celery's messages and results."""
