"""Transport: how a command reaches Redis, in bounded time, on connections of our own."""
