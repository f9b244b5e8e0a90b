"""MEAN and SUM over the last axes, as of each row in a normalisation: USADA8 adds four bytes at once.

The output is a non-decreasing function of the sum, so one multiplication gives it, proven at its thresholds.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from memaopt.access import loads, stores
from memaopt.kernels.around import Compiled
from memaopt.kernels.code import Loop, Node, compiled
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


class _Parts(NamedTuple):
    """What GCC 12.2 makes of a row, of four words in a loop, of a word and of a byte besides; what an output by sign
    takes more, and cycles of a loop over words, of words behind one, and of a word at any address."""

    row: Compiled
    sixteen: Compiled
    word: Compiled
    byte: Compiled
    sign: Compiled
    looped: float
    behind: float
    anywhere: float


#: Of rows in a loop, and of one or of each of two, which are written out and save no registers. Fitted to the sizes and
#: the counts at zero wait states of 176 layers at -O3.
_LOOPED = _Parts(
    Compiled(26, 14.5), Compiled(66, 18.6), Compiled(11, 3.6), Compiled(8, 2.3), Compiled(42, 7), 0, 8, 3.7
)
_ALONE = _Parts(Compiled(34, 14), Compiled(66, 18.6), Compiled(11, 4.5), Compiled(10, 4), Compiled(12, 3), 12, 8, 2)
#: Of the layer besides rows in a loop, more cycles if they end by sign, and of a row by words behind turns written out.
_LAYER, _SIGNED, _BEHIND_TURNS = Compiled(24, 8), 8, 5
#: Rows, and turns of four words, that GCC writes out.
_WRITTEN_OUT = 2
#: Elements of a row from which on it is worth while; bytes of code at most, and more of two rows that are written out
#: (`tests/kernels/test_frames.py`).
_LEAST, _MOST_CODE, _TWICE = 2, 320, 128
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
        looped, by_sign = rows > _WRITTEN_OUT, proven.negative is not None
        parts = _LOOPED if looped else _ALONE
        besides = parts.looped * (sixteens > 0) + parts.behind * (sixteens > 0 and single > 0)
        besides += _BEHIND_TURNS * (looped and single > 4 * _WRITTEN_OUT)
        more = parts.anywhere if left else 0
        straight = ((parts.row, 1), (parts.sign, by_sign), (parts.word, single), (parts.byte, left))
        size = sum(part.size * times for part, times in straight)
        cycles = sum(part.cycles * times for part, times in straight) + more * single + besides
        turn = compiled(parts.sixteen.size, parts.sixteen.cycles + 4 * more)
        row: tuple[Node, ...] = (*([Loop((turn,), sixteens)] if sixteens else []), compiled(size, cycles))
        entry = compiled(_LAYER.size, _LAYER.cycles + _SIGNED * by_sign)
        code: tuple[Node, ...] = (entry, Loop(row, rows)) if looped else row * rows
        read = loads(rows * words, 4) + loads(rows * left, 1)
        return (
            Plan(
                family=self.name,
                tile="",
                cycles=round(cycles_of(code)),
                promise=Promise((read,), stores(rows, 1)),
                data_bytes=0,
                code_bytes=_MOST_CODE + _TWICE * (rows == 2),
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
