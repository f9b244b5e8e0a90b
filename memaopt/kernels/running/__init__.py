"""Averages of a window that slides, from sums that go on."""
