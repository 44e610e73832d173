"""What people are shown, without Redis."""
