"""The dashboard and the alert rules that users load."""
