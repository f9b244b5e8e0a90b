"""Convolutions of few inputs, which stay in registers."""
