"""Messages and results."""
