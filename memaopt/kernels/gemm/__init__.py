"""Kernels of a lone matrix product."""
