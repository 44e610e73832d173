"""Publishing under a publish lock, without a worker."""
