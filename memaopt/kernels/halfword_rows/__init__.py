"""Rows of halfwords for a few output channels: each input is widened once for all the windows that it is in."""
