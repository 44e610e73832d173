"""One run of a task, without a worker."""
