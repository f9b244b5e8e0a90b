"""Whole int8 networks: read ``.tflite``, simplify exactly, plan memory, execute as TFLite's reference does."""
