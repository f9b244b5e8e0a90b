"""MEAN and SUM over the last axes, as of each row in a normalisation: USADA8 adds four bytes at once.

The output is a non-decreasing function of the sum, so one multiplication gives it, proven at its thresholds.
"""

from functools import lru_cache

import numpy as np

from memaopt.access import loads, stores
from memaopt.kernels.around import Compiled, piece
from memaopt.kernels.code import Loop
from memaopt.kernels.emitted import Emitted, emitted, unary
from memaopt.kernels.executed import cycles_of
from memaopt.kernels.family import dimensions
from memaopt.kernels.plan import Plan, Promise
from memaopt.kernels.pooling.channel_sums import SCALE
from memaopt.kernels.rounding import requantize
from memaopt.kernels.rounding.output import Output
from memaopt.kernels.rounding.requantize import Proven
from memaopt.problems.layers import Mean
from memaopt.problems.step_functions import INT8_MAX, INT8_MIN, AccumulatorRange

#: What GCC 12.2 makes at -O3 of four words in a loop, of a word and of a byte besides, and of a row. Fitted to 96
#: counts, as what follows: what outputs by sign take more, words behind a loop, one at any address; of the layer.
_SIXTEEN, _WORD, _BYTE, _ROW = Compiled(56, 18.6), Compiled(12, 3.6), Compiled(12, 2.3), Compiled(80, 14.5)
_BY_SIGN, _BEHIND, _ANYWHERE, _LAYER = 7, 8, 3.7, Compiled(24, 8)
#: Turns of four words that GCC writes out.
_WRITTEN_OUT = 2
#: Elements of a row from which on it is worth while; bytes of code at most (`tests/kernels/test_frames.py`).
_LEAST, _MOST_CODE = 2, 320
_BIAS = -INT8_MIN


class RowSums:
    """Axes that lie whole, behind all those that are kept."""

    name = "row sums"
    computes = Mean

    def plans(self, layer: Mean) -> tuple[Plan, ...]:
        depth = layer.count
        proven = _proven(layer) if _by_rows(layer) else None
        if proven is None:
            return ()
        rows, (words, left) = layer.elements // depth, divmod(depth, 4)
        sixteens, single = divmod(words, 4) if words >= 4 * (_WRITTEN_OUT + 1) else (0, words)
        more = _ANYWHERE if left else 0
        besides = _BY_SIGN * (proven.negative is not None) + _BEHIND * (sixteens > 0 and single > 0)
        row = (
            piece(_ROW._replace(cycles=_ROW.cycles + besides)),
            Loop((piece(_SIXTEEN._replace(cycles=_SIXTEEN.cycles + 4 * more)),), sixteens),
            Loop((piece(_WORD._replace(cycles=_WORD.cycles + more)),), single),
            Loop((piece(_BYTE),), left),
        )
        code = (piece(_LAYER), Loop(row, rows))
        read = loads(rows * words, 4) + loads(rows * left, 1)
        return (
            Plan(
                family=self.name,
                tile="",
                cycles=round(cycles_of(code)),
                promise=Promise((read,), stores(rows, 1)),
                data_bytes=0,
                code_bytes=_MOST_CODE,
                code=code,
                alignment=1 if left else 4,
                requantization=proven.describe(),
            ),
        )

    def emit(self, layer: Mean, plan: Plan, name: str) -> Emitted:
        proven = _proven(layer)
        assert proven is not None
        return emitted(
            unary(name),
            plan,
            f"MEAN of {dimensions(layer.shape)} over rows of {layer.count}",
            "kernels/pooling/row_sums.c.j2",
            rows=layer.elements // layer.count,
            depth=layer.count,
            scale=SCALE,
            start=int(proven.start[0]) - SCALE * layer.count * (layer.input_zero_point + _BIAS),
            multiplier=int(proven.multiplier[0]),
            addend=int(proven.addend[0]),
            negative=0 if proven.negative is None else int(proven.negative[0]),
            q=Output.of(proven, layer.requantization),
        )


def _by_rows(layer: Mean) -> bool:
    kept = [d for d, size in enumerate(layer.shape) if d not in layer.axes and size > 1]
    behind = [d for d in layer.axes if layer.shape[d] > 1]
    return layer.count >= _LEAST and bool(behind) and max(kept, default=-1) < min(behind)


@lru_cache(maxsize=256)
def _proven(layer: Mean) -> Proven | None:
    """How a sum becomes an output, proven for every sum; None if that is not found, or a sum has too many bits."""
    if layer.count * (INT8_MAX - INT8_MIN + _BIAS) * SCALE >= 1 << 31:
        return None
    low, high = (np.array([layer.count * (end - layer.input_zero_point)]) for end in (INT8_MIN, INT8_MAX))
    return requantize.prove_multiply_add(layer.requantization, AccumulatorRange(low, high), SCALE)


FAMILIES = (RowSums(),)
