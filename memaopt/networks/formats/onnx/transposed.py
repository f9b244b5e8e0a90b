"""ConvTranspose: a convolution whose stride is of its output, cut by its pads."""

from __future__ import annotations

import dataclasses

import numpy as np

from memaopt.networks.formats.onnx.building import Building, channels_last
from memaopt.networks.formats.onnx.nodes import OnnxNode
from memaopt.networks.formats.onnx.values import Array, Held, Integers, Pending, Reals, Shape, Target, Value
from memaopt.networks.formats.onnx.weighted import Bias, WeightedKernel, pending, weighted
from memaopt.networks.operators import Bounds, Size2D
from memaopt.networks.operators.transpose_conv import TransposeConv


def conv_transpose(node: OnnxNode, building: Building) -> Value:
    """Of images, and of lines as images of one row. Groups are one convolution with zeros between them."""
    x, weights = node.linear(0), node.weights(1)
    bias = node.value(2) if node.has(2) else None
    rank, group = weights.integers.ndim, node.get("group", 1)
    if rank not in (3, 4) or len(x.shape) != rank:
        raise node.refuse(
            f"weights {list(weights.integers.shape)} of an input {list(x.shape)}; 1D and 2D are supported"
        )
    if weights.integers.shape[0] != x.shape[1] or x.shape[1] % group:
        raise node.refuse(f"weights {list(weights.integers.shape)} in {group} groups of an input {list(x.shape)}")
    if rank == 4:
        return _transposed(node, building, x, _dense(node, weights, group), bias)
    assert x.meaning is not None
    given = building.linear(x)
    rows = building.dequantised(building.reshaped(given, (*x.shape[:2], 1, x.shape[2])), x.meaning)
    inner = _transposed(
        node,
        building,
        rows,
        _dense(node, dataclasses.replace(weights, integers=weights.integers[:, :, None]), group),
        bias,
    )
    shape = (*inner.shape[:2], inner.shape[3])
    return inner.moved(shape, lambda held: building.reshaped(held, shape))


def _transposed(node: OnnxNode, building: Building, x: Reals, weights: Integers, bias: Value | None) -> Pending:
    """``weights``: [outputs, inputs, rows, columns], dilated."""
    outputs, _, *extents = weights.integers.shape
    stride = Size2D(*_pair(node, "strides", 1))
    before, size = _cut(node, x.shape[2:], extents, stride)
    if any(not 0 <= cut < extent for cut, extent in zip(before, extents, strict=True)):
        raise node.refuse(f"pads {list(before)} of a window {extents}; fewer than it has, none negative, are supported")
    kernel = WeightedKernel(TransposeConv, (0, 2, 3, 1), {"stride": stride, "cropped": Size2D(*before)})
    shape = (x.shape[0], outputs, *size)

    def emit(bias: Bias, target: Target, bounds: Bounds | None) -> Held:
        building.at(node)
        image = building.laid(building.linear(x), channels_last(4))
        place = (shape, channels_last(4))
        return weighted(node, building, kernel, (image, weights, bias), place, target, bounds)

    return pending(node, shape, emit, bias, outputs)


def _pair(node: OnnxNode, name: str, least: int) -> tuple[int, int]:
    given = tuple(node.get(name) or (least, least))
    given = (least, *given) if len(given) == 1 else given
    if len(given) != 2 or min(given) < least:
        raise node.refuse(f"{name} {list(given)}; one or two numbers of at least {least} are supported")
    return given[0], given[1]


def _cut(node: OnnxNode, image: Shape, extents: list[int], stride: Size2D) -> tuple[tuple[int, int], tuple[int, int]]:
    """Rows and columns that are cut before the output, and its size."""
    more = _pair(node, "output_padding", 0)
    whole = [s * (n - 1) + e + m for s, n, e, m in zip(stride, image, extents, more, strict=True)]
    auto, wanted = node.get("auto_pad", "NOTSET"), node.get("output_shape")
    if auto in ("SAME_UPPER", "SAME_LOWER") and not wanted:
        wanted = [s * n for s, n in zip(stride, image, strict=True)]
    if wanted:
        wanted = [1, *wanted] if len(wanted) == 1 else list(wanted)[-2:]
        cut = [max(w - size, 0) for w, size in zip(whole, wanted, strict=True)]
        # An odd one more is cut before the output: ONNX says so of all but SAME_UPPER.
        before = [c // 2 if auto == "SAME_UPPER" else c - c // 2 for c in cut]
        size = wanted
    else:
        pads = list(node.get("pads") or (0, 0, 0, 0)) if auto == "NOTSET" else [0, 0, 0, 0]
        pads = [0, pads[0], 0, pads[1]] if len(pads) == 2 else pads
        if len(pads) != 4:
            raise node.refuse(f"pads {pads}; as many as there are sides are supported")
        before = pads[:2]
        size = [w - first - last for w, first, last in zip(whole, pads[:2], pads[2:], strict=True)]
    if min(size) < 1:
        raise node.refuse(f"an output {size} of an image {list(image)}")
    return (before[0], before[1]), (size[0], size[1])


def _dense(node: OnnxNode, weights: Integers, group: int) -> Integers:
    """Weights [outputs, inputs, rows, columns] of ONNX's [inputs, outputs of a group, rows, columns]: zeros where an
    output does not read an input, and between taps that lie apart."""
    if weights.scales.size > 1 and weights.axis != 1:
        raise node.refuse(f"weights have scales on axis {weights.axis}; those of outputs are supported")
    centred = weights.centred
    inputs, each, height, width = centred.shape
    down, across = _pair(node, "dilations", 1)
    size = (group * each, inputs, (height - 1) * down + 1, (width - 1) * across + 1)
    node.bounded(size)
    dense: Array = np.zeros(size, np.int64)
    for g in range(group):
        members = slice(g * inputs // group, (g + 1) * inputs // group)
        dense[g * each : (g + 1) * each, members, ::down, ::across] = centred[members].transpose(1, 0, 2, 3)
    scales = np.tile(weights.scales, group) if weights.scales.size > 1 else weights.scales
    return Integers(dense, scales, np.zeros(scales.size, np.int64))
