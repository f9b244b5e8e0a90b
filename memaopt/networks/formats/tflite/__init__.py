"""TensorFlow Lite files: read, written, and their interpreter as an oracle."""
