"""Mutants: wrong implementations; the checks must tell each from the right one."""
