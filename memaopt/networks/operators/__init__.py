"""The operators of a network."""
