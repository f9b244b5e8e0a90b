"""Keras models in the usual styles, and the small .tflite files that TensorFlow's converter makes of them.

`python -m tests.keras_models` converts them where TensorFlow installs; `files/` holds what it made, for everyone else.
"""
