"""Leases and their renewal, on clocks of the tests."""
