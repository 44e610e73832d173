"""The promises, and the infrastructure that puts them to the test."""
