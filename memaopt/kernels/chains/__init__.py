"""Chains of layers, computed depth first."""
