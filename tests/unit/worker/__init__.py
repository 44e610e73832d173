"""The worker's parent, without a worker."""
