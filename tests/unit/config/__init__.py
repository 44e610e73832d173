"""Options and settings, as declared."""
