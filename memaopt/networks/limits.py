"""What a network may hold at most.

A file is hostile until proven otherwise: these bounds keep the time and the memory that any file can cost
small by construction, and lie far beyond what a microcontroller can hold.
"""

MAX_FILE_BYTES = 64 << 20
MAX_ENTRIES = 1 << 13
"""Tensors, operator codes or buffers in one file, each."""
MAX_OPERATORS = 1 << 10
MAX_RANK = 6
"""Dimensions of a tensor; TFLite's broadcasting kernels stop here too."""
MAX_TENSOR_BYTES = 8 << 20
MAX_CONSTANT_BYTES = 32 << 20
"""All constants together, counted once for each tensor even if tensors share a buffer."""
MAX_ACTIVATION_BYTES = 128 << 20
"""All activations together."""
MAX_OPERANDS = 256
"""Inputs of one operator (CONCATENATION has the most)."""
MAX_OPTIONS = 1 << 16
"""Bytes of options of a custom operator."""
MAX_WEIGHTS_READ = 64 << 20
"""Weights of all operators together, counted again for each operator that shares them."""
MAX_MACS = 1 << 32
"""Multiply-accumulates of one inference; half a minute and more on a Cortex-M4."""
MAX_ANALYSIS = 1 << 32
"""Work of one inference (multiply-accumulates, weighted by how long the executor takes) up to which simplification
runs one to find known channels."""
MAX_ANALYSED_CHANNELS = 1 << 17
MAX_FOLDED_MACS = 1 << 26
"""Of an operator on constants that is computed when the network is simplified."""
MAX_NAME = 240
MAX_NAME_BYTES = 1 << 16
MAX_CHANNELS = 1 << 16
"""Channels of a per-channel quantised tensor."""
