"""Observing: what is seen of locks by real monitors, beside real workers."""
