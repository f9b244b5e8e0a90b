"""Which function reads which node."""

from __future__ import annotations

from memaopt.networks.formats.onnx import (
    moving,
    normalised,
    pointwise,
    pooling,
    rearranging,
    resizing,
    slopes,
    transposed,
    weighted,
)
from memaopt.networks.formats.onnx.quantised import Handler, around, concatenated, dequantise, quantise

_UNARY = ((0, 1, 2),)
_TWO = ((0, 1, 2), (3, 4, 5))

HANDLERS: dict[str, Handler] = {
    "AveragePool": pooling.average_pool,
    "BatchNormalization": normalised.batch_normalization,
    "Cast": moving.identity,
    "Concat": moving.concat,
    "Conv": weighted.conv,
    "ConvTranspose": transposed.conv_transpose,
    "DepthToSpace": rearranging.depth_to_space,
    "DequantizeLinear": dequantise,
    "Dropout": moving.identity,
    "Flatten": moving.reshape,
    "Gather": rearranging.gather,
    "Gemm": weighted.gemm,
    "GlobalAveragePool": pooling.mean,
    "Identity": moving.identity,
    "MatMul": weighted.matmul,
    "MaxPool": pooling.max_pool,
    "Pad": moving.pad,
    "QGemm": around(weighted.gemm, _TWO, (6,), 7),
    "QLinearAdd": around(pointwise.pointwise, _TWO, (), 6),
    "QLinearAveragePool": around(pooling.average_pool, _UNARY, (), 3),
    "QLinearConcat": concatenated(moving.concat),
    "QLinearConv": around(weighted.conv, _TWO, (8,), 6),
    "QLinearGlobalAveragePool": around(pooling.mean, _UNARY, (), 3),
    "QLinearLeakyRelu": around(pointwise.pointwise, _UNARY, (), 3),
    "QLinearMatMul": around(weighted.matmul, _TWO, (), 6),
    "QLinearMul": around(pointwise.pointwise, _TWO, (), 6),
    "QLinearSigmoid": around(pointwise.pointwise, _UNARY, (), 3),
    "QLinearSoftmax": around(pointwise.softmax, _UNARY, (), 3),
    "QuantizeLinear": quantise,
    "ReduceMean": pooling.mean,
    "Reshape": moving.reshape,
    "Resize": resizing.resize,
    "Slice": moving.slices,
    "Softmax": pointwise.softmax,
    "SpaceToDepth": rearranging.space_to_depth,
    "Split": moving.split,
    "Squeeze": moving.reshape,
    "Transpose": moving.transpose,
    "Unsqueeze": moving.reshape,
    "Upsample": resizing.resize,
    **dict.fromkeys(pointwise.POINTWISE, pointwise.pointwise),
    "PRelu": slopes.prelu,
}
"""By the node's kind, whatever its domain; those of bytes but QLinearConv and QLinearMatMul are onnxruntime's own."""
