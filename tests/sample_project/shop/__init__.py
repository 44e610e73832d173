"""A shop, with locked tasks."""
