"""Naming: which calls of a task share a lock (pure)."""
