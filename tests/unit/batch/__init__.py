"""Batches, without a worker."""
