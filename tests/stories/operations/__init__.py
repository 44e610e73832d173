"""What operators are told by the commands."""
