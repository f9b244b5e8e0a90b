"""A network: which kernel computes each layer, and what lies where."""
