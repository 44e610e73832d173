"""What a conflict makes of a task, without a worker."""
