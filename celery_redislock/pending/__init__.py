"""Pending: one more run, later: recorded when its trigger meets a busy lock, published when it is free."""
