"""The engine, without a real server."""
