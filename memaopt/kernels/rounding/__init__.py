"""From 32-bit sums to int8 outputs: rounding proven exact, and its text."""
