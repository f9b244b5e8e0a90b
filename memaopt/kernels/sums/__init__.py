"""Sums of two tensors, two elements at a time."""
