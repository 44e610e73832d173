"""The scripts of the engine against a model of what they promise."""
