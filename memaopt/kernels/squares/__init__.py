"""Squares of differences."""
