"""Lease: what this process believes of a lock that it asked for, waits for, holds or has lost."""
