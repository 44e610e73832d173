"""Beats, without a process."""
