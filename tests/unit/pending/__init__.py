"""Pending runs, without a worker."""
