"""Convolutions and fully connected layers of few outputs, straight from bytes."""
