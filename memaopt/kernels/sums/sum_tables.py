"""ADD and SUB whose 8-bit result goes through a table of 256 outputs: what follows them, and any clamp, in one pass.

The sum is that of :mod:`memaopt.kernels.sums.sums`, saturated to 0..255 instead, as an offset into the table.
"""

import dataclasses
from typing import NamedTuple

import numpy as np

from memaopt.access import loads, stores
from memaopt.kernels.code import Rendered
from memaopt.kernels.elementwise.pairs import PairCycles, pairs_plan, runs_of
from memaopt.kernels.emitted import Emitted, binary, emitted
from memaopt.kernels.family import dimensions
from memaopt.kernels.plan import Plan
from memaopt.kernels.sums.sums import SumFactors, factors_of
from memaopt.kernels.text.c import LINE, Array
from memaopt.problems.binary import Binary
from memaopt.problems.step_functions import INT8_MAX, INT8_MIN


class _Cycles(NamedTuple):
    """Of the kernel's parts, instruction by instruction (docs/timing.md), but for ``layer`` and ``each``
    (:class:`PairCycles`).
    """

    kernel: int = 10 + 3 + 4 - 1 + 12  # nine registers pushed and popped, table and factors; the last branch not taken
    layer: int = 22
    each: int = 17
    loaded: int = 2 + 1  # a word of each: the first of loads in a row takes two
    spread: int = 4  # into halfwords
    spread_fine: int = 6  # into halfwords times 256
    four: int = 8 + 4 + 5 + 3 + 1  # products, saturated, looked up, put together, stored
    turn: int = 1 + 2  # counted, and back


_CYCLES = _Cycles()


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
        spread = 6 if factors.fine else 4
        halfwords = _CYCLES.spread_fine if factors.fine else _CYCLES.spread
        turn = 2 * (_CYCLES.loaded + halfwords + _CYCLES.four) + _CYCLES.turn
        code = 4 * (9 + 2 * (2 + spread + 8 + 4 + 4 + 3 + 1))
        whole = runs.count * runs.eights
        return (
            pairs_plan(
                self.name,
                layer,
                runs,
                _kernel(factors),
                cycles=PairCycles(_CYCLES.kernel, _CYCLES.layer, turn, _CYCLES.each),
                code=code,
                stack=96,
                data=12 + 256,
                parameters=loads(layer.elements, 1) + loads(3 * runs.count if runs.eights else 0, 4),
                arguments=2,
                output=stores(2 * whole, 4) + stores(runs.rest, 1),
                table=256,
            ),
        )

    def emit(self, layer: Binary, plan: Plan, name: str) -> Emitted:
        factors, runs = _factors(layer), runs_of(layer)
        assert factors is not None
        assert runs is not None
        kernel = _kernel(factors)
        arrays = [
            Array("int32_t", f"{name}_factors", np.array(factors[:3]), "a, b, c"),
            Array("int8_t", f"{name}_table", _table(layer), "output of each sum, from -128 up", alignment=LINE),
        ]
        shapes = f"{dimensions(layer.first_shape)} and {dimensions(layer.second_shape)}"
        kernels = (kernel,) if runs.eights else ()
        return emitted(
            binary(name),
            plan,
            f"{layer.kind.upper()} of {shapes}, through a table",
            "kernels/sums/sum_table_layer.c.j2",
            arrays=arrays if runs.eights else arrays[1:],
            kernels=kernels,
            layer=layer,
            kernel=kernel.name,
            runs=runs,
            factors=factors,
        )


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


def _kernel(factors: SumFactors) -> Rendered:
    name = f"sum_through_table_s{factors.shift}{'_fine' if factors.fine else ''}"
    return Rendered(name, "kernels/sums/sum_table.c.j2", (("fine", factors.fine), ("shift", factors.shift)))


FAMILIES = (SumThroughTable(),)
