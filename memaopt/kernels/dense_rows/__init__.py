"""FULLY_CONNECTED whose input, an image, comes some rows at a time."""
