"""A Django app with a locked task."""
