"""Layers of int16 activations."""
