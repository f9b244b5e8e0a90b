"""A layer computes a band: some consecutive rows of its output, from just the input rows that these read.

The band of an image layer is a layer of the same kind with fewer rows, so every kernel family that computes the whole
computes bands too, from any address where the input rows lie one after the other. Rows of padding above and below the
image lie among them as rows of :attr:`Rows.padding`: one kernel serves the first rows, the last and all between.

    rows_in(n) = (n - 1) * stride + (kernel - 1) * dilation + 1          halo = rows_in(n) - n * stride
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from memaopt.problems.binary import Binary, BinaryKind
from memaopt.problems.dense_band import DenseBand
from memaopt.problems.geometry import Image, Padding, Window
from memaopt.problems.layers import Conv, Depthwise, FullyConnected, Layer, Lookup, Pool, PoolKind
from memaopt.problems.step_functions import INT8_MAX, INT8_MIN

#: Of pairs: what is computed row by row, by the same function.
_BY_ROWS = (
    BinaryKind.ADD,
    BinaryKind.SUB,
    BinaryKind.MUL,
    BinaryKind.MINIMUM,
    BinaryKind.MAXIMUM,
    BinaryKind.SQUARED_DIFFERENCE,
)


class Reach(NamedTuple):
    """Row r of an output reads the ``extent`` rows of an input from row r * stride - above on."""

    extent: int = 1
    stride: int = 1
    above: int = 0

    def rows_in(self, rows: int) -> int:
        """The input rows that so many consecutive output rows read."""
        return (rows - 1) * self.stride + self.extent

    def first(self, row: int) -> int:
        """The first input row that an output row reads; below 0 in the padding."""
        return row * self.stride - self.above

    def below(self, rows: int, height: int) -> int:
        """Rows of padding under an input of ``height`` rows that the last of so many output rows reads."""
        return max(self.first(rows - 1) + self.extent - height, 0)


@dataclass(frozen=True)
class Rows:
    """A layer of an image of ``height`` rows of outputs as something that computes rows from rows.

    ``reaches`` has one for each input. Rows of padding hold ``padding`` in every byte; None where there are none.
    """

    layer: Layer
    height: int
    reaches: tuple[Reach, ...]
    padding: int | None = None

    def band(self, rows: int) -> Layer:
        """The layer that computes ``rows`` rows from ``reach.rows_in(rows)`` rows of each input."""
        return _band(self.layer, self.height, self.reaches[0], rows)


@lru_cache(maxsize=1024)
def rows_of(layer: Layer, height: int) -> Rows | None:
    """The layer as rows, ``height`` of them; None if a row of its output is not a function of some rows of its inputs,
    the same function for each row.
    """
    if isinstance(layer, Conv | Depthwise):
        return Rows(layer, height, (_reach(layer.window),), layer.input_zero_point)
    if isinstance(layer, Pool):
        reach = _reach(layer.window)
        if reach.above == 0 and reach.below(height, layer.shape.height) == 0:
            return Rows(layer, height, (reach,))
        # An average counts only what is inside the image.
        fill = {PoolKind.MAX: INT8_MIN, PoolKind.MIN: INT8_MAX}.get(layer.kind)
        return None if fill is None else Rows(layer, height, (reach,), fill)
    if isinstance(layer, Lookup) and layer.elements % height == 0:
        return Rows(layer, height, (Reach(),))
    if isinstance(layer, Binary) and layer.kind in _BY_ROWS:
        shape = layer.first_shape
        if shape == layer.second_shape and len(shape) == 4 and shape[:2] == (1, height):
            return Rows(layer, height, (Reach(), Reach()))
    return None


def dense_rows(layer: Layer, image: Image) -> Rows | None:
    """A fully connected layer that reads an image flattened as one that adds rows of it to sums; None for any other."""
    if not isinstance(layer, FullyConnected) or layer.rows != 1 or image.height == 1:
        return None
    return Rows(layer, image.height, (Reach(),)) if layer.weights.shape[1] == image.elements else None


def _reach(window: Window) -> Reach:
    return Reach(window.extent.height, window.stride.height, window.padding.top)


@lru_cache(maxsize=2048)
def _band(layer: Layer, height: int, reach: Reach, rows: int) -> Layer:
    if isinstance(layer, Conv | Depthwise | Pool):
        return dataclasses.replace(
            layer,
            shape=layer.shape._replace(height=reach.rows_in(rows)),
            output=layer.output._replace(height=rows),
            window=dataclasses.replace(layer.window, padding=Padding(0, layer.window.padding.left)),
        )
    if isinstance(layer, FullyConnected):
        return DenseBand(layer, height // rows)
    if isinstance(layer, Lookup):
        return dataclasses.replace(layer, elements=layer.elements // height * rows)
    assert isinstance(layer, Binary)
    shape = (1, rows, *layer.first_shape[2:])
    return dataclasses.replace(layer, first_shape=shape, second_shape=shape)
