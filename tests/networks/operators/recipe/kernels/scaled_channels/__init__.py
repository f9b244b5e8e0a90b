"""Channels that have a weight each."""
