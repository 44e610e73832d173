"""What users' tests ask."""
