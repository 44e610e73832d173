"""Observing, without a worker."""
