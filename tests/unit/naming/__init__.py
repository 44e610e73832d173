"""Names of locks."""
