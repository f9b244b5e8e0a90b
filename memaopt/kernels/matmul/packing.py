"""How operands of BATCH_MATMUL become halfwords, and how the sums of their products are rounded.

Packing subtracts the zero points and gives the first operand a factor, so that a sum has the bits that its rounding in
one multiplication needs; the multiplication is proven for every sum.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from memaopt.access import Access, loads, stores
from memaopt.alignment import align
from memaopt.kernels.around import Compiled, piece
from memaopt.kernels.code import Loop, Node
from memaopt.kernels.rounding import cleared
from memaopt.kernels.rounding.output import Output
from memaopt.kernels.rounding.requantize import Proven
from memaopt.problems.layers import MatMul
from memaopt.problems.step_functions import INT8_MAX, INT8_MIN, AccumulatorRange, Requantization

#: What GCC 12.2 makes at -O3 of elements that are packed: of four by words, of four of a row by itself, of what a row
#: takes besides, of four by columns, of a line of columns, of one. Fitted to 72 counts with what tiles take besides:
#: within 6 %, but for fewer than 8 rows.
_WORDS, _FOUR, _ROW = Compiled(40, 12.2), Compiled(48, 16.4), Compiled(90, 15.5)
_COLUMNS, _LINE, _ONE = Compiled(60, 21.1), Compiled(20, 6.7), Compiled(40, 18.3)
#: Cycles that a factor takes of four elements more, by words, of rows and of columns. Fitted to 60 counts.
_TIMES_WORDS, _TIMES_ROWS, _TIMES_COLUMNS = 3.7, 2.8, 3.0
#: Cycles that four elements of columns at any address take more, and of rows, by the mean of all addresses.
_ANYWHERE, _UNALIGNED = 8.2, 1.2
#: Factors of the first operand, whose halfwords hold them, the greatest first.
_FACTORS = tuple(1 << shift for shift in range(7, -1, -1))


@dataclass(frozen=True)
class HalfwordPacking:
    """How an operand becomes halfwords: ``rows`` of ``depth`` elements, ``outer`` and ``inner`` apart, to rows of
    ``padded``. ``aligned``: what is read by words lies at multiples of 4.
    """

    how: str
    rows: int
    depth: int
    padded: int
    aligned: bool
    outer: int
    inner: int
    start: str
    zero_point: int
    times: int

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
    def _columns(self) -> int:
        """Words that a line of columns is read by, the last of which meets bytes of the one before."""
        return -(-self.rows // 4)

    @property
    def reads(self) -> Access:
        if self.how == "one":
            return loads(self.rows * self.depth, 1)
        if self.how == "columns":
            return loads(self.depth * self._columns, 4)
        return loads(self.rows * (self.depth // 4), 4) + loads(self.rows * (self.depth % 4), 1)

    @property
    def writes(self) -> Access:
        if self.how == "words":
            return stores(self.rows * self.depth // 2, 4)
        cleared = stores(self.rows * ((self.padded - self.depth // 4 * 4) // 2), 4)
        if self.how == "columns":
            return cleared + stores(4 * self.depth * self._columns, 2)
        if self.how == "one":
            return cleared + stores(self.rows * self.depth, 2)
        return cleared + stores(self.rows * (self.depth // 4) * 2, 4) + stores(self.rows * (self.depth % 4), 2)

    @property
    def code(self) -> tuple[Node, ...]:
        anywhere, unaligned = (0.0, 0.0) if self.aligned else (_ANYWHERE, _UNALIGNED)
        if self.how == "one":
            return (Loop((piece(_ONE),), self.rows * self.depth),)
        scaled = self.times > 1
        if self.how == "words":
            four = piece(_WORDS._replace(cycles=_WORDS.cycles + _TIMES_WORDS * scaled))
            return (Loop((four,), self.rows * self.depth // 4),)
        if self.how == "columns":
            four = piece(_COLUMNS._replace(cycles=_COLUMNS.cycles + anywhere + _TIMES_COLUMNS * scaled))
            return (Loop((piece(_LINE), Loop((four,), self._columns)), self.depth),)
        four = piece(_FOUR._replace(cycles=_FOUR.cycles + unaligned + _TIMES_ROWS * scaled))
        return (Loop((piece(_ROW), Loop((four,), self.depth // 4)), self.rows),)


class Way(NamedTuple):
    """The factor of the first operand, and the rounding of the sums."""

    factor: int
    proven: Proven

    def packings(self, layer: MatMul, by: int) -> tuple[HalfwordPacking, HalfwordPacking]:
        """Of both operands, rows of a multiple of ``by`` halfwords."""
        return _packing(layer, 0, self.factor, by), _packing(layer, 1, 1, by)

    def output(self, layer: MatMul) -> Output:
        return Output.of(self.proven, _requantization(layer))


def _requantization(layer: MatMul) -> Requantization:
    multiplier, shift = layer.result
    return Requantization(layer.zero_point, multipliers=np.array([multiplier]), shifts=np.array([shift]))


@lru_cache(maxsize=64)
def way_of(layer: MatMul) -> Way | None:
    """The greatest factor with which the rounding is proven; None if there is none."""
    _, depth, _ = layer.size
    ends = [[end - zero for end in (INT8_MIN, INT8_MAX)] for zero in (layer.first_zero_point, layer.second_zero_point)]
    products = [depth * a * b for a in ends[0] for b in ends[1]]
    span = AccumulatorRange(np.array([min(0, *products)]), np.array([max(0, *products)]))
    for factor in _FACTORS:
        if max(abs(product) for product in products) * factor >= 1 << 31:
            continue
        proven = cleared.prove_multiply_add(_requantization(layer), span, factor)
        if proven is not None and not proven.constant.any():
            return Way(factor, proven)
    return None


def _packing(layer: MatMul, position: int, times: int, by: int) -> HalfwordPacking:
    """By words where rows lie whole, by four rows at once where their elements do."""
    rows, depth, columns = layer.size
    count, steps = (rows, columns)[position], layer.steps(position)
    padded = align(depth, by)
    how, aligned = "one", True
    if steps.inner == 1 and depth >= 4:
        how, aligned = "words" if padded == depth else "rows", depth % 4 == 0
    elif steps.outer == 1 and count >= 4:
        how, aligned = "columns", count % 4 == 0
    zero = (layer.first_zero_point, layer.second_zero_point)[position]
    return HalfwordPacking(how, count, depth, padded, aligned, steps.outer, steps.inner, steps.start, zero, times)
