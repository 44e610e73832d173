"""House: what holds of the project as a whole: its shape, its public names, its scripts, its wheel."""
