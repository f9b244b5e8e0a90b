"""SQUARED_DIFFERENCE: one input by a table of what the reference makes of it, the other one by a factor.

The reference brings both inputs to 2^7 times twice the greater scale, so the input that has it becomes 64 times what it
is, without a rounding, and the other one 256 values, each rounded. A difference fits 16 bits, so its square is one
multiplication, and its rounding another one that is proven for every square. For that a square may need more bits: of
a difference twice as large, where it has room, or shifted.
"""

from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np

from memaopt.fixedpoint import Int64Array
from memaopt.kernels.code import Constants, Rendered
from memaopt.kernels.elementwise.proven import FixedRounding, fixed_rounding
from memaopt.kernels.elementwise.runs import PairKernel, PairRun, emitted_runs, pairs_plan, runs_of
from memaopt.kernels.emitted import Emitted, binary
from memaopt.kernels.family import data_bytes, dimensions
from memaopt.kernels.plan import Plan
from memaopt.kernels.rounding.output import Output
from memaopt.kernels.text.c import Array
from memaopt.problems.binary import Binary, BinaryKind
from memaopt.problems.step_functions import INT8_MAX, INT8_MIN

_FACTOR = 64
#: How far squares are shifted, and how often differences doubled before: what takes fewer instructions first.
_FORMS = ((0, 1), (0, 2), (0, 0), (1, 1), (2, 1), (1, 0), (2, 0), (3, 0))
_BYTES = np.arange(INT8_MIN, INT8_MAX + 1, dtype=np.int64)


class _Squares(NamedTuple):
    """``linear``: the input (0 or 1) that a ``factor`` is for; ``table``: of each byte of the other one what is added;
    ``shift``: of squares, before they are rounded; ``told``: why that is right."""

    linear: int
    factor: int
    table: Int64Array
    shift: int
    rounding: FixedRounding
    told: str


class Squares:
    """SQUARED_DIFFERENCE, broadcast as :func:`runs_of` has it."""

    name = "squares"
    computes = Binary

    def plans(self, layer: Binary) -> tuple[Plan, ...]:
        runs, squares = runs_of(layer), _squares(layer)
        if runs is None or squares is None:
            return ()
        arrays, kernel_of = _arrays(squares, ""), partial(_kernel, squares)
        data, table = data_bytes(arrays), data_bytes(arrays[1:])
        by = 1 - squares.linear
        plan = pairs_plan(
            self.name,
            layer,
            runs,
            kernel_of,
            stack=104,
            data=data,
            table=table,
            table_item=2,
            table_by=by,
            told=squares.told,
        )
        return (plan,)

    def emit(self, layer: Binary, plan: Plan, name: str) -> Emitted:
        runs, squares = runs_of(layer), _squares(layer)
        assert runs is not None
        assert squares is not None
        title = f"SQUARED_DIFFERENCE of {dimensions(layer.first_shape)} and {dimensions(layer.second_shape)}"
        arrays = _arrays(squares, name)
        return emitted_runs(binary(name), plan, title, arrays, runs, partial(_kernel, squares), table=True)


def _arrays(squares: _Squares, name: str) -> list[Array]:
    rounding = squares.rounding
    factors = [squares.factor, rounding.multiplier, rounding.addend, rounding.start]
    table, told = np.roll(squares.table, 128), "of each byte, from 0 to -1, what it adds to a difference"
    return [
        Array("int32_t", f"{name}_factors", np.array(factors), "factor, m, c, what is added to a square"),
        Array("int16_t", f"{name}_table", table, told),
    ]


def _kernel(squares: _Squares, run: PairRun) -> PairKernel:
    rounding = squares.rounding
    low, high = (None if end in (INT8_MIN, INT8_MAX) else end for end in (rounding.low, rounding.high))
    output = Output(rounding.shift, False, low, high)
    values = (
        ("q", output),
        ("linear", squares.linear),
        ("shift", squares.shift),
        ("eights", run.eights > 0),
        ("rest", run.rest),
    )
    by = f"{('first', 'second')[squares.linear]}{f'_by_{squares.shift}' if squares.shift else ''}"
    name = f"squares_of_{by}_{output.slug}{run.slug}"
    table = (Constants("r4", "[sp, #40]", table=True),)
    return PairKernel(Rendered(name, "kernels/squares/square.c.j2", values, table), 4, 2)


@lru_cache(maxsize=64)
def _squares(layer: Binary) -> _Squares | None:
    """How a layer is computed; None for other kinds, or without a proof."""
    if layer.kind is not BinaryKind.SQUARED_DIFFERENCE or layer.table:
        return None
    centred = _BYTES - layer.first_zero_point, _BYTES - layer.second_zero_point
    scaled = [r.apply(x << layer.left_shift) for r, x in zip((layer.first, layer.second), centred, strict=True)]
    exact = [bool((y == _FACTOR * x).all()) for x, y in zip(centred, scaled, strict=True)]
    if True not in exact:
        return None
    linear = exact.index(True)
    zero_point = (layer.first_zero_point, layer.second_zero_point)[linear]
    table = -scaled[1 - linear] - _FACTOR * zero_point
    farthest = int(np.abs(_FACTOR * _BYTES[[0, -1]][:, None] + table).max())
    for shift, doublings in _FORMS:
        times = 1 << doublings
        if times * max(farthest, int(np.abs(table).max())) >= 1 << 15:
            continue
        found = fixed_rounding(layer, layer.result, np.array([0, farthest * farthest]), (times * times << shift,))
        if found is not None and not found[0].negative and not (shift and found[0].start):
            return _Squares(linear, _FACTOR * times, times * table, shift, *found)
    return None


FAMILIES = (Squares(),)
