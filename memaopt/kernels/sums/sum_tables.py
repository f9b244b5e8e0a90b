"""ADD and SUB whose 8-bit result goes through a table of 256 outputs: what follows them, and any clamp, in one pass.

The sum is that of :mod:`memaopt.kernels.sums.sums`, saturated to 0..255 instead, as an offset into the table.
"""

import dataclasses
from functools import partial

import numpy as np

from memaopt.kernels.code import Constants, Rendered
from memaopt.kernels.elementwise.runs import PairKernel, PairRun, emitted_runs, pairs_plan, runs_of
from memaopt.kernels.emitted import Emitted, binary
from memaopt.kernels.family import dimensions
from memaopt.kernels.plan import Plan
from memaopt.kernels.sums.sums import SumFactors, factors_of
from memaopt.kernels.text.c import LINE, Array
from memaopt.problems.binary import Binary
from memaopt.problems.step_functions import INT8_MAX, INT8_MIN

_TABLE = 256


class SumThroughTable:
    """For sums with a table, and for those whose clamp the saturation to 8 bits does not make."""

    name = "sum through table"
    computes = Binary

    def plans(self, layer: Binary) -> tuple[Plan, ...]:
        runs = runs_of(layer)
        if not layer.kind.is_sum or runs is None:
            return ()
        clamped = (layer.minimum, layer.maximum) != (INT8_MIN, INT8_MAX)
        factors = _factors(layer) if layer.table or clamped else None
        if factors is None:
            return ()
        return (
            pairs_plan(self.name, layer, runs, partial(_kernel, factors), stack=104, data=12 + _TABLE, table=_TABLE),
        )

    def emit(self, layer: Binary, plan: Plan, name: str) -> Emitted:
        factors, runs = _factors(layer), runs_of(layer)
        assert factors is not None
        assert runs is not None
        arrays = [
            Array("int32_t", f"{name}_factors", np.array(factors[:3]), "a, b, c"),
            Array("int8_t", f"{name}_table", _table(layer), "output of each sum, from -128 up", alignment=LINE),
        ]
        shapes = f"{dimensions(layer.first_shape)} and {dimensions(layer.second_shape)}"
        title = f"{layer.kind.upper()} of {shapes}, through a table"
        return emitted_runs(binary(name), plan, title, arrays, runs, partial(_kernel, factors), table=True)


def _table(layer: Binary) -> np.ndarray[tuple[int], np.dtype[np.int8]]:
    """The outputs of sums from -128 to 127, the layer's clamp included."""
    clamped = np.clip(np.arange(INT8_MIN, INT8_MAX + 1), layer.minimum, layer.maximum)
    return (np.array(layer.table)[clamped + 128] if layer.table else clamped).astype(np.int8)


def _factors(layer: Binary) -> SumFactors | None:
    """The sum's, with 128 added to what is saturated; None where that could leave 32 bits."""
    bare = dataclasses.replace(layer, table=(), minimum=INT8_MIN, maximum=INT8_MAX)
    found = factors_of(bare)
    if found is None:
        return None
    offset = 128 << found.shift
    reach = sum(abs(factor) << (15 if found.fine else 7) >> 16 for factor in found[:2]) + 2 + abs(found.c) + offset
    return None if reach >= 1 << 31 else found._replace(c=found.c + offset)


def _kernel(factors: SumFactors, run: PairRun) -> PairKernel:
    name = f"sum_through_table_s{factors.shift}{'_fine' if factors.fine else ''}{run.slug}"
    values = (("fine", factors.fine), ("shift", factors.shift), ("eights", run.eights > 0), ("rest", run.rest))
    table = (Constants("r7", "[sp, #40]", table=True),)
    return PairKernel(Rendered(name, "kernels/sums/sum_table.c.j2", values, table), 3, 2, by_words=True)


FAMILIES = (SumThroughTable(),)
