"""Protocol: what is said to Redis and what its answers mean, without a socket, a clock or a thread."""
