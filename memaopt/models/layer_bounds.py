"""The products of a layer, for the bound on what any order of them moves (:mod:`memaopt.models.io_bound`)."""

from __future__ import annotations

import math

from memaopt.models.io_bound import Products, io_bytes
from memaopt.problems.gemm import ACCUMULATOR_BYTES
from memaopt.problems.layers import Conv, FullyConnected, Layer, MatMul


def products_of(layer: Layer, batch: int = 1) -> Products | None:
    """The products of ``batch`` calls of a layer whose weights, or second operand, many outputs share; None for others:
    they move no less than each of their elements once, which a few rows of SRAM attain.
    """
    if isinstance(layer, FullyConnected):
        return Products(batch * layer.macs, batch * layer.rows * len(layer.weights), 1)
    if isinstance(layer, MatMul):
        rows, depth, columns = layer.size
        results = math.prod(layer.batches) * rows * columns
        return Products(batch * results * depth, batch * results, 1)
    if not isinstance(layer, Conv):
        return None
    outputs = layer.output.elements
    taps = layer.window.taps(layer.shape, layer.output)
    return Products(batch * taps * layer.weights.shape[-1] * len(layer.weights), batch * outputs, 1, _uses(layer))


def _uses(layer: Conv) -> int:
    """How often at most windows lie over an element at different taps."""
    return math.prod(
        min(outputs, -(-kernel // (stride // math.gcd(stride, dilation))))
        for outputs, kernel, stride, dilation in zip(
            layer.output[:2], layer.window.kernel, layer.window.stride, layer.window.dilation, strict=True
        )
    )


def layer_io_bytes(layer: Layer, fast: int, batch: int = 1) -> int:
    """The bytes that any order of a layer's products moves to and from a memory of ``fast`` bytes, with its input,
    constants and output outside and a sum for each output, of one byte at least or of four; 0 where that says nothing.
    """
    products = products_of(layer, batch)
    if products is None:
        return 0
    return max(io_bytes(products, fast, partial) for partial in (products.width, ACCUMULATOR_BYTES))
