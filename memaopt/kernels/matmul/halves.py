"""BATCH_MATMUL with two products an instruction: operands of a batch as halfwords, tiles of two rows and two columns.

Packing subtracts the zero points and gives the first operand a factor, so that a sum has the bits that its rounding in
one multiplication needs; the multiplication is proven for every sum.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from memaopt.access import Access, loads, stores
from memaopt.alignment import align
from memaopt.kernels import around
from memaopt.kernels.around import Compiled, piece
from memaopt.kernels.code import Loop, Node
from memaopt.kernels.emitted import Emitted, binary, emitted
from memaopt.kernels.executed import cycles_of
from memaopt.kernels.family import dimensions
from memaopt.kernels.plan import Plan, Promise
from memaopt.kernels.rounding import requantize
from memaopt.kernels.rounding.output import Output
from memaopt.kernels.rounding.requantize import Proven
from memaopt.problems.layers import MatMul
from memaopt.problems.step_functions import INT8_MAX, INT8_MIN, AccumulatorRange, Requantization

#: What GCC 12.2 makes at -O3 of elements that are packed: of four by words, of four by columns, of one; of four words
#: of a tile, of a tile besides, and of a row of tiles, whose cycles are in those of its tiles. Fitted to 28 counts:
#: within 6 % where sizes are multiples of 4, else 25 %.
_WORDS, _COLUMNS, _ONE = Compiled(40, 6.7), Compiled(60, 17), Compiled(40, 14.2)
_STEP, _TILE, _ROW = Compiled(80, 34.2), Compiled(220, 66.2), Compiled(30, 0)
#: Bytes of its code at most (`tests/kernels/test_frames.py`), and of its stack.
_MOST_CODE, _STACK = 2048, 96
#: Factors of the first operand, whose halfwords hold them, the greatest first.
_FACTORS = tuple(1 << shift for shift in range(7, -1, -1))


@dataclass(frozen=True)
class _Packing:
    """How an operand becomes halfwords: ``rows`` of ``depth`` elements, ``outer`` and ``inner`` apart."""

    how: str
    rows: int
    depth: int
    outer: int
    inner: int
    start: str
    zero_point: int
    times: int

    @property
    def padded(self) -> int:
        """Halfwords of a row."""
        return align(self.depth, 4)

    @property
    def shift(self) -> int:
        return self.times.bit_length() - 1

    @property
    def mask(self) -> int:
        """The bits of two halfwords that a shift leaves to each."""
        half = 0xFFFF & (0xFFFF << self.shift)
        return half << 16 | half

    @property
    def zero(self) -> int:
        """Minus the zero point in both halves of a word."""
        return (-self.zero_point & 0xFFFF) * 0x10001

    @property
    def reads(self) -> Access:
        return loads(self.rows * self.depth, 1) if self.how == "one" else loads(self.rows * self.depth // 4, 4)

    @property
    def writes(self) -> Access:
        if self.how == "words":
            return stores(self.rows * self.depth // 2, 4)
        if self.how == "columns":
            return stores(self.rows * self.depth, 2) + stores(2 * self.rows * (self.padded > self.depth), 4)
        return stores(self.rows * self.padded, 2)

    @property
    def code(self) -> Node:
        if self.how == "one":
            return Loop((piece(_ONE),), self.rows * self.padded)
        return Loop((piece(_WORDS if self.how == "words" else _COLUMNS),), self.rows * self.depth // 4)


class _Way(NamedTuple):
    """How both operands are packed, and the rounding of their sums."""

    first: _Packing
    second: _Packing
    proven: Proven


class HalvesMatMul:
    """Sums that fit 32 bits and round in one multiplication."""

    name = "halves"
    computes = MatMul

    def plans(self, layer: MatMul) -> tuple[Plan, ...]:
        way = _way(layer)
        if way is None:
            return ()
        rows, _, columns = layer.size
        first, second, proven = way
        batch, words = math.prod(layer.batches), first.padded // 2
        pairs = -(-rows // 2), -(-columns // 2)
        tiles = math.prod(pairs)
        row = (piece(_ROW), Loop((piece(_TILE), Loop((piece(_STEP),), words // 2)), pairs[1]))
        code = (*around.entry(), Loop((first.code, second.code, Loop(row, pairs[0])), batch))
        one = Promise(
            (first.reads, second.reads),
            stores(rows * columns, 1),
            scratch=first.writes + second.writes + loads(4 * tiles * words, 4),
        )
        return (
            Plan(
                family=self.name,
                tile="2x2",
                cycles=round(cycles_of(code)),
                promise=one.times(batch),
                data_bytes=0,
                code_bytes=_MOST_CODE,
                scratch_bytes=2 * first.padded * (rows + columns),
                stack_bytes=_STACK,
                code=code,
                alignment=4,
                requantization=proven.describe(),
            ),
        )

    def emit(self, layer: MatMul, plan: Plan, name: str) -> Emitted:
        way = _way(layer)
        assert way is not None
        proven = way.proven
        output = Output.of(proven, _requantization(layer))
        return emitted(
            binary(name),
            plan,
            f"BATCH_MATMUL {dimensions(layer.first_shape)} by {dimensions(layer.second_shape)}",
            "kernels/matmul/halves.c.j2",
            batches=layer.batches,
            first=way.first,
            second=way.second,
            words=way.first.padded // 2,
            start=int(proven.start[0]),
            multiplier=int(proven.multiplier[0]),
            addend=int(proven.addend[0]),
            negative=None if proven.negative is None else int(proven.negative[0]),
            shift=proven.shift,
            low=output.low,
            high=output.high,
        )


def _requantization(layer: MatMul) -> Requantization:
    multiplier, shift = layer.result
    return Requantization(layer.zero_point, multipliers=np.array([multiplier]), shifts=np.array([shift]))


@lru_cache(maxsize=64)
def _way(layer: MatMul) -> _Way | None:
    """The greatest factor with which the rounding is proven; None if there is none."""
    _, depth, _ = layer.size
    ends = [[end - zero for end in (INT8_MIN, INT8_MAX)] for zero in (layer.first_zero_point, layer.second_zero_point)]
    products = [depth * a * b for a in ends[0] for b in ends[1]]
    span = AccumulatorRange(np.array([min(0, *products)]), np.array([max(0, *products)]))
    for factor in _FACTORS:
        if max(abs(product) for product in products) * factor >= 1 << 31:
            continue
        proven = requantize.prove_multiply_add(_requantization(layer), span, factor)
        if proven is not None and not proven.constant.any():
            return _Way(_packing(layer, 0, factor), _packing(layer, 1, 1), proven)
    return None


def _packing(layer: MatMul, position: int, times: int) -> _Packing:
    """By words where rows lie whole, by four rows at once where their elements do."""
    rows, depth, columns = layer.size
    count, steps = (rows, columns)[position], layer.steps(position)
    how = (
        "words" if steps.inner == 1 and depth % 4 == 0 else "columns" if steps.outer == 1 and count % 4 == 0 else "one"
    )
    zero = (layer.first_zero_point, layer.second_zero_point)[position]
    return _Packing(how, count, depth, steps.outer, steps.inner, steps.start, zero, times)


FAMILIES = (HalvesMatMul(),)
