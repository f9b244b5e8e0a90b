"""``.onnx`` files of quantised networks."""
