"""Pooling of up to three channels by windows of two columns side by side: elements are read by words all the same.

Rows below each other are summed, or compared, as words; then columns are, whose elements lie as many bytes apart as
there are channels. A sum s of n elements becomes (s m + c) >> 16 with m a little more than 65536 / n, so that ties go
away from zero (or up, by a larger c): tried for every sum. The outputs are upper halves, which PKHTB puts together.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from memaopt.access import loads, stores
from memaopt.kernels import around
from memaopt.kernels.code import Call, Rendered
from memaopt.kernels.emitted import Emitted
from memaopt.kernels.executed import cycles_of, words_of
from memaopt.kernels.leads import lead_of
from memaopt.kernels.plan import Plan, Promise, saved
from memaopt.kernels.pooling.pooling import details_of, emitted_pool
from memaopt.kernels.text.c import short_name
from memaopt.kernels.text.thumb import REACH
from memaopt.problems.layers import Pool, PoolKind
from memaopt.problems.step_functions import INT8_MAX, INT8_MIN, Average

#: By the number of channels: positions of a turn, and bytes that it reads of a row.
_POSITIONS, _BYTES = (0, 4, 2, 2), (0, 8, 8, 12)
_ONE = 1 << 16
#: Cycles that a word takes more by where it lies from a multiple of 4.
_SLOWER = np.array([0, 2, 1, 2])


class _Factors(NamedTuple):
    """(s ``multiplier`` + ``addend``) >> 16 is the mean and 128."""

    multiplier: int
    addend: int


@lru_cache(maxsize=64)
def _factors(count: int, ties_up: bool) -> _Factors | None:
    """Those of so many elements, for every sum; None if they are not found."""
    sums = np.arange(count * INT8_MIN, count * INT8_MAX + 1)
    found = _Factors(_ONE // count + 1, -INT8_MIN * _ONE + _ONE // 2 + (count * -INT8_MIN if ties_up else 0))
    outputs = (sums * found.multiplier + found.addend >> 16) + INT8_MIN
    proven = np.array_equal(outputs, Average(count, ties_up=ties_up).apply(sums))
    return found if proven and found.multiplier < _ONE // 2 else None


class FewPool:
    """AVERAGE_POOL_2D, MAX_POOL_2D and the least, of windows that lie inside the image everywhere."""

    name = "few columns"
    computes = Pool

    def plans(self, layer: Pool) -> tuple[Plan, ...]:
        kernel = _kernel(layer)
        if kernel is None:
            return ()
        (_, width, channels), (height, columns, _), rows = layer.shape, layer.output, layer.window.kernel.height
        turns, rest = divmod(columns, _POSITIONS[channels])
        starts = np.add.outer(np.arange(height) * layer.window.stride.height, np.arange(rows)) * width * channels
        slow = float(_SLOWER[starts % 4].mean())
        call = Call(kernel, (height, turns), slow=slow)
        code, size = (around.piece(around.CALL), call), 4 * words_of(call)
        read = loads(turns * _BYTES[channels] // 4 * rows, 4) + loads(rest * channels * 2 * rows, 1)
        written = stores(turns, 4) + stores(turns * (channels == 3), 2) + stores(rest * channels, 1)
        return (
            Plan(
                family=self.name,
                tile=str(_POSITIONS[channels]),
                cycles=round(cycles_of(code)) + _slower_stores(layer),
                promise=Promise((read.times(height),), written.times(height), stack=saved(9)),
                data_bytes=0,
                code_bytes=size + 20,
                stack_bytes=48,
                kernels=(kernel.name,),
                shared_bytes=size,
                code=code,
                lead=_lead(layer),
                alignment=4,
                requantization="proven for all sums" if layer.kind is PoolKind.AVERAGE else "",
            ),
        )

    def emit(self, layer: Pool, plan: Plan, name: str) -> Emitted:
        return emitted_pool(layer, plan, name, _kernel(layer))


def _kernel(layer: Pool) -> Rendered | None:
    """The assembly for a layer; None for others."""
    window, (_, width, channels) = layer.window, layer.shape
    (rows, columns), average = window.kernel, layer.kind is PoolKind.AVERAGE
    whole = window.taps(layer.shape, layer.output) == rows * columns * layer.output.positions
    if not whole or channels > 3 or (columns, window.stride.width, window.dilation) != (2, 2, (1, 1)):
        return None
    if not 2 <= rows <= 3 or layer.output.width < _POSITIONS[channels]:
        return None
    factors = _factors(rows * columns, layer.ties_up) if average else None
    if (rows - 1) * width * channels + 4 * _BYTES[3] > REACH or (average and factors is None):
        return None
    details = details_of(layer)
    bounds = tuple(
        (bound, least)
        for bound, least, end in ((layer.minimum, True, INT8_MIN), (layer.maximum, False, INT8_MAX))
        if bound != end
    )
    values = (
        ("layer", layer),
        ("per_turn", _POSITIONS[channels]),
        ("factors", factors),
        ("bounds", bounds),
        ("details", details),
    )
    return Rendered(short_name(f"pool_columns_{layer.kind}", details), "kernels/pooling/few_pool.c.j2", values)


def _slower_stores(layer: Pool) -> int:
    """Cycles that stores take more at addresses that are no multiples of 4, words, or odd, halfwords."""
    channels, (height, columns, _), per_turn = layer.shape.channels, layer.output, _POSITIONS[layer.shape.channels]
    x = np.arange(0, columns // per_turn * per_turn, per_turn)
    at = (np.arange(height)[:, None] * columns + x) * channels
    return int(_SLOWER[at % 4].sum() + (at % 2).sum() * (channels == 3))


def _lead(layer: Pool) -> int:
    """Of turns, each of which reads its elements and then writes, and of outputs one by one behind them."""
    (_, width, channels), (height, columns, _) = layer.shape, layer.output
    turn, outputs = _POSITIONS[channels] * channels, columns * channels
    whole = outputs // turn * turn
    at = np.array([*range(0, whole, turn), *range(whole, outputs)])
    ends = np.where(at < whole, at + turn, at + 1)
    reads = at // channels * 2 * channels + at % channels
    rows = np.arange(height)[:, None]
    below = rows * layer.window.stride.height * width * channels
    return lead_of((below + reads).ravel(), (rows * outputs + ends).ravel(), layer.shape.elements)


FAMILIES = (FewPool(),)
