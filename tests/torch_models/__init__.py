"""PyTorch models in the usual styles, exported to ONNX and quantised by onnxruntime.

`python -m tests.torch_models` makes the files where PyTorch installs; `files/` holds what it made, for everyone else.
"""
