"""Promised against counted."""
