"""Maxima, averages and means."""
