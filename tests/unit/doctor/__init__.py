"""The doctor: for each rule a broken configuration that it finds, and a sound one that it leaves alone."""
