"""Rows divided by their lengths."""
