"""Operators that a C function of the user's computes."""
