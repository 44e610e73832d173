"""Observing, without a server."""
