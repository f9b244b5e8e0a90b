"""Images resized by interpolation."""
