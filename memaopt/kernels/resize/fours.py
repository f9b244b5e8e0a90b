"""RESIZE_BILINEAR of four channels at a time.

Weights of rows times those of columns add up to 2^20. Where what they have in common leaves 2^8 or less, as for
sizes 2, 4 or 8 times as large, sums of x + 128 times them fit 16 bits, and two of a word are multiplied at once; else
each channel by itself.
"""

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from memaopt.access import loads, stores
from memaopt.fixedpoint import Int64Array, wrap_int32
from memaopt.kernels import around
from memaopt.kernels.around import Compiled, piece
from memaopt.kernels.code import Call, Loop, Rendered
from memaopt.kernels.emitted import Emitted, emitted, unary
from memaopt.kernels.executed import cycles_of, words_of
from memaopt.kernels.family import data_bytes, dimensions
from memaopt.kernels.plan import Plan, Promise, saved
from memaopt.kernels.text.c import Array, short_name
from memaopt.kernels.text.thumb import REACH
from memaopt.problems.resize import RESIZE_UNIT, Resize

#: What weights add up to in halves, and bits of a column's weight in its word, above which is where its left neighbour
#: lies.
_SUM, _BITS = 256, 16
#: What GCC 12.2 makes at -O3 of a row around the call, and bytes of its C at most (`tests/kernels/test_frames.py`).
_ROW, _MOST_CODE, _STACK = Compiled(48, 16), 160, 96


class _Axis(NamedTuple):
    """Of each output index along an axis the first of two neighbours, and the other's weight out of ``most``."""

    first: Int64Array
    weight: Int64Array
    most: int

    def times(self, factor: int) -> "_Axis":
        return _Axis(self.first, self.weight * factor, self.most * factor)


class FoursResize:
    """Whole words of channels."""

    name = "fours"
    computes = Resize

    def plans(self, layer: Resize) -> tuple[Plan, ...]:
        axes = _axes(layer)
        if axes is None:
            return ()
        height, width, channels = layer.output
        kernel = _kernel(layer)
        words = dict(kernel.values)["words"]
        assert isinstance(words, int)
        turns = channels // (4 * words)
        call = Call(kernel, (width, turns) if turns > 1 else (width,))
        code = (*around.entry(), Loop((piece(_ROW), call), height))
        n, size, halves = layer.output.elements, 4 * words_of(call), _in_halves(*axes)
        # what is kept of a row, and of a position that and where outputs end
        stack = (saved(9) + stores(3, 4)).times(height) + (loads(4, 4) + stores(1, 4)).times(height * width)
        written = stores(n // 4, 4) if halves else stores(n, 1)
        return (
            Plan(
                family=self.name,
                tile=f"{'2' if halves else '1'} a word, {4 * words} a turn",
                cycles=round(cycles_of(code)),
                promise=Promise((loads(n, 4),), written, loads(height * (2 + width), 4), stack=stack),
                data_bytes=data_bytes(_arrays(layer, "")),
                code_bytes=_MOST_CODE + size,
                stack_bytes=_STACK,
                kernels=(kernel.name,),
                shared_bytes=size,
                code=code,
                alignment=4,
            ),
        )

    def emit(self, layer: Resize, plan: Plan, name: str) -> Emitted:
        kernel = _kernel(layer)
        title = f"RESIZE_BILINEAR {dimensions(layer.shape)} -> {dimensions(layer.output)}"
        arrays = _arrays(layer, name)
        template = "kernels/resize/fours_layer.c.j2"
        return emitted(unary(name), plan, title, template, arrays, (kernel,), layer=layer, kernel=kernel.name)


def _kernel(layer: Resize) -> Rendered:
    axes = _axes(layer)
    assert axes is not None
    channels = layer.shape.channels
    values = (
        ("channels", channels),
        ("right", channels if layer.shape.width > 1 else 0),
        ("row", layer.shape.width * channels if layer.shape.height > 1 else 0),
        ("most", axes[1].most),
        ("words", 2 if channels % 8 == 0 else 1),
        ("halves", _in_halves(*axes)),
    )
    details = ", ".join(f"{value} {key}" for key, value in values)
    return Rendered(short_name("resize_fours", details), "kernels/resize/fours.c.j2", values)


def _arrays(layer: Resize, name: str) -> list[Array]:
    axes = _axes(layer)
    assert axes is not None
    rows, columns = axes
    channels = layer.shape.channels
    lines = np.stack([rows.first * layer.shape.width * channels, rows.weight | (rows.most - rows.weight) << _BITS])
    places = wrap_int32(columns.weight | columns.first * channels << _BITS)
    of_row = "of each row where the upper neighbour lies; the lower one's weight, and the upper one's"
    of_column = "of each column the right neighbour's weight, and where the left one lies"
    return [Array("int32_t", f"{name}_rows", lines.T, of_row), Array("int32_t", f"{name}_columns", places, of_column)]


@lru_cache(maxsize=64)
def _axes(layer: Resize) -> tuple[_Axis, _Axis] | None:
    """Rows and columns; None where there are no whole words of channels, or rows are too long."""
    _, width, channels = layer.shape
    if channels % 4 or channels + 4 > REACH or width * channels >= 1 << _BITS:
        return None
    found = [_axis(layer, axis) for axis in (0, 1)]
    rows, columns = found
    if rows is None or columns is None:
        return None
    if rows.most * columns.most <= _SUM:
        return rows, columns.times(_SUM // (rows.most * columns.most))
    return rows.times(RESIZE_UNIT // rows.most), columns.times(RESIZE_UNIT // columns.most)


def _in_halves(rows: _Axis, columns: _Axis) -> bool:
    return rows.most * columns.most == _SUM


def _axis(layer: Resize, axis: int) -> _Axis | None:
    """By two neighbours beside each other, wherever there are two: of the last one the second has all the weight."""
    size, (lower, upper, part) = layer.shape[axis], layer.positions(axis)
    part = np.where(lower == upper, 0, part)
    if ((upper > lower) & (upper != lower + 1)).any() or (part < 0).any():
        return None
    last = (lower == size - 1) & (size > 1)
    lower, part = np.where(last, lower - 1, lower), np.where(last, RESIZE_UNIT, part)
    common = math.gcd(RESIZE_UNIT, *(int(each) for each in part))
    return _Axis(lower, part // common, RESIZE_UNIT // common)


FAMILIES = (FoursResize(),)
