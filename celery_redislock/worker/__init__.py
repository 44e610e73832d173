"""Worker: what a worker's parent process does for the locks of its children."""
