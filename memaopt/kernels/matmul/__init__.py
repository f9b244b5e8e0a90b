"""Products of two matrices that are both computed."""
