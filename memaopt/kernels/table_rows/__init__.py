"""Convolutions of one input as tables: all outputs of each of its 256 values, computed offline."""
