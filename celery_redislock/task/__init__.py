"""Task: one run, from taking the lock to giving it back."""
