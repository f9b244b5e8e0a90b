"""Comparisons of four bytes at a time, by what the first input has to be for each byte of the second one.

Both are rescaled, which keeps their order. So x is less than y up to a bound that y has, and equal from there up to
another one, and 256 bounds, found by trying all pairs, are all that is left of the scales.
"""

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from memaopt.fixedpoint import Int64Array
from memaopt.kernels.code import Rendered
from memaopt.kernels.elementwise.runs import PairKernel, PairRun, emitted_runs, pairs_plan, runs_of
from memaopt.kernels.emitted import Emitted, binary
from memaopt.kernels.family import data_bytes, dimensions
from memaopt.kernels.plan import Plan
from memaopt.kernels.text.c import Array
from memaopt.problems.binary import Binary, BinaryKind
from memaopt.problems.step_functions import INT8_MAX, INT8_MIN

_BYTES = np.arange(INT8_MIN, INT8_MAX + 1, dtype=np.int64)
_EQUAL = (BinaryKind.EQUAL, BinaryKind.NOT_EQUAL)
#: Those that are what the bounds say, the other way round.
_INVERSE = (BinaryKind.NOT_EQUAL, BinaryKind.GREATER, BinaryKind.GREATER_EQUAL)


class Comparisons:
    """Broadcast as :func:`runs_of` has it."""

    name = "bounds"
    computes = Binary

    def plans(self, layer: Binary) -> tuple[Plan, ...]:
        runs = runs_of(layer)
        if not layer.kind.comparison or runs is None:
            return ()
        data = data_bytes([_table(layer, "")])
        item = 4 if layer.kind in _EQUAL else 2
        return (
            pairs_plan(self.name, layer, runs, _of(layer), stack=96, data=data, table=data, table_item=item, told=""),
        )

    def emit(self, layer: Binary, plan: Plan, name: str) -> Emitted:
        runs = runs_of(layer)
        assert runs is not None
        title = f"{layer.kind.upper()} of {dimensions(layer.first_shape)} and {dimensions(layer.second_shape)}"
        return emitted_runs(binary(name), plan, title, [_table(layer, name)], runs, _of(layer), table=True)


def _of(layer: Binary) -> Callable[[PairRun], PairKernel]:
    """The kernel of each run."""
    equal, inverse = layer.kind in _EQUAL, layer.kind in _INVERSE

    def kernel(run: PairRun) -> PairKernel:
        values = (("equal", equal), ("inverse", inverse), ("eights", run.eights > 0), ("rest", run.rest))
        name = f"{'equal' if equal else 'below'}{'_not' if inverse else ''}_by_bounds{run.slug}"
        return PairKernel(Rendered(name, "kernels/elementwise/compare_words.c.j2", values), 0, 1, by_words=True)

    return kernel


def _table(layer: Binary, name: str) -> Array:
    """Minus the bounds of each byte, from 0 to -1."""
    less, not_greater = _bounds(layer)
    if layer.kind in _EQUAL:
        pairs = (-less & 0xFFFF) | (-not_greater << 16)
        told = "of each byte, from 0 to -1, minus the first that is not less, and minus the first that is greater"
        return Array("int32_t", f"{name}_table", np.roll(pairs, 128), told)
    strict = layer.kind in (BinaryKind.LESS, BinaryKind.GREATER_EQUAL)
    told = f"of each byte, from 0 to -1, minus the first that is {'not less' if strict else 'greater'}"
    return Array("int16_t", f"{name}_table", np.roll(-(less if strict else not_greater), 128), told)


@lru_cache(maxsize=64)
def _bounds(layer: Binary) -> tuple[Int64Array, Int64Array]:
    """For each byte of the second input the least of the first that is not less, and that is greater; 128 for none."""
    x = layer.first.apply((_BYTES - layer.first_zero_point) << layer.left_shift)
    y = layer.second.apply((_BYTES - layer.second_zero_point) << layer.left_shift)
    assert (np.diff(x) >= 0).all()
    return np.searchsorted(x, y, "left") + INT8_MIN, np.searchsorted(x, y, "right") + INT8_MIN


FAMILIES = (Comparisons(),)
