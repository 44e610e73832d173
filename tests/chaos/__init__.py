"""Chaos: real workers under random faults, judged by what they did."""
