"""Microcontrollers and their cores, as data."""
