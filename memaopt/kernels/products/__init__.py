"""Products of two tensors."""
