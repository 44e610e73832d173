"""The demo: the same scheduled import without and with the lock, measured and drawn."""
