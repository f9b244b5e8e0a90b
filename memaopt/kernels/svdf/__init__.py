"""SVDF whose state is int16."""
