"""What a layer reads and writes at least: the elements that its outputs depend on, whatever the values are.

An input element counts if a window covers it or a table reaches it, a weight if its tap ever lies on the image and not
only in the padding: counts of geometry. Tables
and parameters of channels do not count, for code can hold those.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import singledispatch

import numpy as np

from memaopt.fixedpoint import Int64Array
from memaopt.problems.binary import Binary
from memaopt.problems.embedding import Embedding
from memaopt.problems.geometry import Image, Window
from memaopt.problems.layers import (
    ArgExtreme,
    Conv,
    ConvDepthwise,
    Depthwise,
    Dequantize,
    Extreme,
    FloatLookup,
    FullyConnected,
    Int8Array,
    L2Norm,
    Layer,
    LayerChain,
    Lookup,
    MatMul,
    Mean,
    Pool,
    Quantize,
    Softmax,
)
from memaopt.problems.log_softmax import LogSoftmax
from memaopt.problems.lstm import Lstm
from memaopt.problems.movement import Movement, Piece
from memaopt.problems.resize import Resize
from memaopt.problems.selection import Selection
from memaopt.problems.sixteen import (
    Binary16,
    Conv16,
    Depthwise16,
    FromFloat16,
    FullyConnected16,
    Mean16,
    Pool16,
    Rescaled,
    Softmax16,
    ToFloat16,
)
from memaopt.problems.svdf import SvdfFeatures, SvdfFilter

_FLOAT_BYTES, _INT16_BYTES, _INDEX_BYTES = 4, 2, 4


@dataclass(frozen=True)
class Operands:
    """Bytes of one call: of each input those that are read at least, of the output, of the weights at a byte each."""

    inputs: tuple[int, ...]
    output: int
    weights: int = 0

    @property
    def bytes(self) -> int:
        """What crosses, whoever computes the layer: everything once."""
        return sum(self.inputs) + self.output + self.weights


@singledispatch
def operands(layer: Layer) -> Operands:
    """The bytes that one call of ``layer`` reads and writes at least."""
    raise TypeError(f"no operands of {type(layer).__name__}")


def covered(outputs: Iterable[int], size: int, kernel: int, stride: int, dilation: int, before: int) -> list[int]:
    """The indices below ``size`` along an axis that the windows of these outputs cover, in order."""
    at = (p * stride + tap * dilation - before for p in outputs for tap in range(kernel))
    return sorted({index for index in at if 0 <= index < size})


_Outputs = tuple[Iterable[int], Iterable[int]]


def _used(weights: Int8Array, outputs: _Outputs, image: Image, window: Window) -> int:
    """Elements of ``weights`` whose taps lie on ``image`` for any of these rows and columns of outputs."""
    taps = 1
    for d, wanted in enumerate(outputs):
        starts = [p * window.stride[d] - window.padding[d] for p in wanted]
        offsets = (tap * window.dilation[d] for tap in range(window.kernel[d]))
        taps *= sum(any(0 <= start + offset < image[d] for start in starts) for offset in offsets)
    return weights.size // math.prod(window.kernel) * taps


def _whole(output: Image) -> tuple[range, range]:
    """All rows and columns of outputs."""
    return range(output.height), range(output.width)


def _axes(outputs: _Outputs, image: Image, window: Window) -> tuple[list[int], list[int]]:
    """The rows and the columns of ``image`` that windows at these rows and columns of outputs cover."""
    rows, columns = (
        covered(wanted, image[d], window.kernel[d], window.stride[d], window.dilation[d], window.padding[d])
        for d, wanted in enumerate(outputs)
    )
    return rows, columns


def _read(image: Image, output: Image, window: Window) -> int:
    """Elements of ``image`` under any window."""
    rows, columns = _axes(_whole(output), image, window)
    return len(rows) * len(columns) * image.channels


@operands.register(Conv)
@operands.register(Depthwise)
def _(layer: Conv | Depthwise) -> Operands:
    used = _used(layer.weights, _whole(layer.output), layer.shape, layer.window)
    return Operands((_read(layer.shape, layer.output, layer.window),), layer.output.elements, used)


@operands.register
def _(layer: ConvDepthwise) -> Operands:
    conv, depthwise = layer.conv, layer.depthwise
    outputs = _whole(layer.output)
    between = _axes(outputs, depthwise.shape, depthwise.window)
    rows, columns = _axes(between, conv.shape, conv.window)
    read = len(rows) * len(columns) * conv.shape.channels
    used = _used(conv.weights, between, conv.shape, conv.window)
    used += _used(depthwise.weights, outputs, depthwise.shape, depthwise.window)
    return Operands((read,), layer.output.elements, used)


@operands.register
def _(layer: LayerChain) -> Operands:
    last = len(layer.parts)
    wanted = {last: ({*range(layer.output.height)}, {*range(layer.output.width)})}
    used = 0
    for number, part in reversed([*enumerate(layer.parts)]):
        rows, columns = wanted.get(number + 1, (set(), set()))
        if isinstance(part.layer, Conv | Depthwise):
            used += _used(part.layer.weights, (rows, columns), part.layer.shape, part.layer.window)
        for tensor in part.reads:
            image, inner = layer.images[tensor], part.layer
            read: _Outputs = rows, columns
            if isinstance(inner, Conv | Depthwise | Pool):
                read = _axes((sorted(rows), sorted(columns)), image, inner.window)
            elif isinstance(inner, Mean):
                read = range(image.height), range(image.width)
            known = wanted.setdefault(tensor, (set(), set()))
            known[0].update(read[0])
            known[1].update(read[1])
    size = len(wanted[0][0]) * len(wanted[0][1]) * layer.shape.channels
    return Operands((size,), layer.output.elements, used)


@operands.register
def _(layer: FullyConnected) -> Operands:
    channels, depth = layer.weights.shape
    return Operands((layer.rows * depth,), layer.rows * channels, layer.weights.size)


@operands.register
def _(layer: Binary) -> Operands:
    return Operands((math.prod(layer.first_shape), math.prod(layer.second_shape)), layer.elements)


@operands.register
def _(layer: Selection) -> Operands:
    return Operands(tuple(math.prod(shape) for shape in layer.shapes), layer.elements)


@operands.register
def _(layer: Pool) -> Operands:
    return Operands((_read(layer.shape, layer.output, layer.window),), layer.output.elements)


@operands.register(Mean)
@operands.register(Extreme)
def _(layer: Mean | Extreme) -> Operands:
    return Operands((layer.elements,), layer.elements // layer.count)


@operands.register
def _(layer: ArgExtreme) -> Operands:
    return Operands((math.prod(layer.shape),), layer.outputs * layer.size)


@operands.register
def _(layer: Softmax) -> Operands:
    return Operands((layer.rows * layer.depth,), layer.rows * layer.depth * layer.output_bits // 8)


@operands.register(L2Norm)
@operands.register(LogSoftmax)
def _(layer: L2Norm | LogSoftmax) -> Operands:
    return Operands((layer.rows * layer.depth,), layer.rows * layer.depth)


@operands.register
def _(layer: Lookup) -> Operands:
    return Operands((layer.elements,), layer.elements)


@operands.register
def _(layer: FloatLookup) -> Operands:
    return Operands((layer.elements,), _FLOAT_BYTES * layer.elements)


@operands.register
def _(layer: Quantize) -> Operands:
    return Operands((_FLOAT_BYTES * layer.elements,), layer.elements)


@operands.register
def _(layer: Dequantize) -> Operands:
    return Operands((layer.elements,), _FLOAT_BYTES * layer.elements)


@operands.register
def _(layer: Movement) -> Operands:
    read = [
        np.unique(np.concatenate([_read_by(piece) for piece in layer.pieces if piece.source == source] or [_NOTHING]))
        for source in range(layer.sources)
    ]
    return Operands(tuple(elements.size for elements in read), layer.elements)


@operands.register
def _(layer: Embedding) -> Operands:
    """Every index may name one row."""
    return Operands((_INDEX_BYTES * layer.count,), layer.elements, layer.size)


@operands.register
def _(layer: Lstm) -> Operands:
    outputs = layer.batch * layer.steps * layer.units
    return Operands((math.prod(layer.shape),), outputs, layer.weights.size + layer.recurrent.size)


@operands.register(Conv16)
@operands.register(Depthwise16)
@operands.register(Pool16)
def _(layer: Conv16 | Depthwise16 | Pool16) -> Operands:
    weights = 0
    if not isinstance(layer, Pool16):
        weights = _used(layer.weights, _whole(layer.output), layer.shape, layer.window)
    read = _read(layer.shape, layer.output, layer.window)
    return Operands((_INT16_BYTES * read,), _INT16_BYTES * layer.output.elements, weights)


@operands.register
def _(layer: Binary16) -> Operands:
    sizes = (_INT16_BYTES * math.prod(shape) for shape in (layer.pairs.first_shape, layer.pairs.second_shape))
    return Operands(tuple(sizes), _INT16_BYTES * layer.elements)


@operands.register
def _(layer: FromFloat16) -> Operands:
    return Operands((_FLOAT_BYTES * layer.elements,), _INT16_BYTES * layer.elements)


@operands.register
def _(layer: ToFloat16) -> Operands:
    return Operands((_INT16_BYTES * layer.elements,), _FLOAT_BYTES * layer.elements)


@operands.register
def _(layer: Mean16) -> Operands:
    return Operands((_INT16_BYTES * layer.elements,), _INT16_BYTES * (layer.elements // layer.count))


@operands.register
def _(layer: FullyConnected16) -> Operands:
    channels, depth = layer.weights.shape
    sizes = (_INT16_BYTES * layer.rows * depth,), _INT16_BYTES * layer.rows * channels
    return Operands(*sizes, layer.weights.size)


@operands.register
def _(layer: Softmax16) -> Operands:
    return Operands((_INT16_BYTES * layer.elements,), _INT16_BYTES * layer.elements)


@operands.register
def _(layer: Rescaled) -> Operands:
    return Operands((layer.source * layer.elements,), layer.target * layer.elements)


@operands.register
def _(layer: SvdfFeatures) -> Operands:
    filters, inputs = layer.weights.shape
    return Operands((layer.rows * inputs,), _INT16_BYTES * layer.rows * filters, layer.weights.size)


@operands.register
def _(layer: SvdfFilter) -> Operands:
    weights = _INT16_BYTES * layer.weights.size
    return Operands((layer.batch * weights,), layer.batch * layer.units, weights)


_NOTHING = np.empty(0, np.int64)


def _read_by(piece: Piece) -> Int64Array:
    """The indices of the input that a piece reads, once for each of its elements."""
    read = np.array([piece.input_offset], np.int64)
    for table in piece.input_tables:
        read = np.add.outer(read, table).reshape(-1)
    return read


@operands.register
def _(layer: Resize) -> Operands:
    rows, columns = (
        len(np.union1d(at.lower, at.upper[at.part > 0])) for at in (layer.positions(axis) for axis in (0, 1))
    )
    return Operands((rows * columns * layer.shape.channels,), layer.output.elements)


@operands.register
def _(layer: MatMul) -> Operands:
    rows, _, columns = layer.size
    outputs = math.prod(layer.batches) * rows * columns
    return Operands((math.prod(layer.first_shape), math.prod(layer.second_shape)), outputs)
