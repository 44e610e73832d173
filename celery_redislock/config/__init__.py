"""Config: what a user declared in a call, a task or the settings, checked and frozen."""
