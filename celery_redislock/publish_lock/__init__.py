"""Publish lock: under the name of a lock at most one message waits; it carries a ticket for that."""
