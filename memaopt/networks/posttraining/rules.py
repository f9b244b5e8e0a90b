"""How the operators of a float network become int8: tensors that share a scale or have a given one, and weights.

The rules are those of TFLite's specification of 8-bit quantisation (public: "LiteRT 8-bit quantization specification").
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from memaopt.networks.operators.quantization import Meaning


class WeightedOperands(NamedTuple):
    """Where an operator has its input, weights and bias, and the weights' axis of output channels."""

    input: int
    weights: int
    bias: int
    axis: int


WEIGHTED = {
    "CONV_2D": WeightedOperands(0, 1, 2, 0),
    "DEPTHWISE_CONV_2D": WeightedOperands(0, 1, 2, 3),
    "FULLY_CONNECTED": WeightedOperands(0, 1, 2, 0),
    "TRANSPOSE_CONV": WeightedOperands(2, 1, 3, 0),
}

#: Outputs of a scale that is given.
GIVEN = {
    "SOFTMAX": Meaning(1 / 256, -128),
    "LOGISTIC": Meaning(1 / 256, -128),
    "TANH": Meaning(1 / 128, 0),
    "L2_NORMALIZATION": Meaning(1 / 128, 0),
    "LOG_SOFTMAX": Meaning(1 / 16, 127),
}

#: All floats of one scale, for the operator moves them or chooses among them.
ALIKE = frozenset({
    "ARG_MAX", "ARG_MIN", "AVERAGE_POOL_2D", "BATCH_TO_SPACE_ND", "BROADCAST_TO", "CONCATENATION", "DEPTH_TO_SPACE",
    "EXPAND_DIMS", "GATHER", "MAXIMUM", "MAX_POOL_2D", "MINIMUM", "MIRROR_PAD", "PACK", "PAD", "PADV2", "REDUCE_MAX",
    "REDUCE_MIN", "RESHAPE", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "REVERSE_V2", "SHAPE", "SLICE",
    "SPACE_TO_BATCH_ND", "SPACE_TO_DEPTH", "SPLIT", "SPLIT_V", "SQUEEZE", "STRIDED_SLICE", "TILE", "TRANSPOSE",
    "UNPACK",
})  # fmt: skip

#: Each float of a scale of its own.
OWN = frozenset({
    "ABS", "ADD", "BATCH_MATMUL", "ELU", "EXP", "GELU", "HARD_SWISH", "LEAKY_RELU", "LOG", "MEAN", "MUL", "PRELU",
    "RELU", "RELU6", "RSQRT", "SQRT", "SQUARED_DIFFERENCE", "SUB", "SUM",
})  # fmt: skip

#: Constants of these have the zero point 0.
SYMMETRIC = frozenset({"BATCH_MATMUL", "PRELU"})

SUPPORTED = frozenset({*WEIGHTED, *GIVEN, *ALIKE, *OWN})


def meaning(low: float, high: float, *, symmetric: bool = False) -> Meaning:
    """The finest int8 that holds the reals from low to high, and 0."""
    low, high = min(low, 0.0), max(high, 0.0)
    if symmetric:
        return Meaning(_float(max(-low, high) / 127 or 1 / 127), 0)
    scale = _float((high - low) / 255 or 1 / 255)
    return Meaning(scale, int(np.clip(np.rint(-128 - low / scale), -128, 127)))


def _float(scale: float) -> float:
    """The scale as a file can hold it."""
    return float(np.float32(scale))
