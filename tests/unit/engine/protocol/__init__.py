"""What is said to Redis."""
