"""Tables, conversions, and sums and products of two tensors."""
