"""Batch: a whole canvas under one lock."""
