"""Stories: real servers and real workers, a folder for each story."""
