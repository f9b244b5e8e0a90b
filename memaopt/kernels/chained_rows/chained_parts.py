"""FULLY_CONNECTED with more inputs than a tile has room for, or with accumulators that 256 times leave 32 bits.

The inputs come in parts. Chained rows (chains.py) of each part add their accumulators, at scale 1, to sums of 32 bits
in scratch memory, which are requantised in the end. Preconditions, checked offline: the chains fit 16 bits,
256 |acc| < 2^31 in each part (parts of 256 inputs always do). The requantisation is proven with the whole accumulators
shifted left as far as 32 bits allow; where that fails, it is the reference's own.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, NamedTuple

import numpy as np

from memaopt.access import Access, loads, stores
from memaopt.fixedpoint import INT32_MAX, Int64Array
from memaopt.kernels import around
from memaopt.kernels.chained_rows import chained_rows, chains
from memaopt.kernels.chained_rows.chained_rows import MOST_INPUTS, as_matrix, tile_words, title_of, weights_of
from memaopt.kernels.chained_rows.chains import ROWS, SCALE
from memaopt.kernels.chained_rows.kernel import ChainedRowsKernel
from memaopt.kernels.code import Loop, Node, compiled, cycles_of
from memaopt.kernels.emitted import Emitted, emitted, unary
from memaopt.kernels.family import data_bytes, pareto
from memaopt.kernels.generic.generic import reference_rounding
from memaopt.kernels.plan import Plan, Promise
from memaopt.kernels.rounding import requantize
from memaopt.kernels.rounding.output import Output, channel_parameters
from memaopt.kernels.rounding.requantize import Proven
from memaopt.kernels.text.c import Array
from memaopt.problems.layers import Conv, FullyConnected, Layer
from memaopt.problems.step_functions import accumulator_range

_UNROLL = 8  # words of inputs in a turn of the loop; for weights of a byte, half as many stay within 1 KiB
#: An output made from its sum in C, bytes of code and cycles: proven, and by the reference's arithmetic, twice rounded
#: integers or doubles.
_PROVEN, _INTEGERS, _DOUBLES = (56, 17), (120, 40), (160, 334)


class _Rounding(NamedTuple):
    """How the sums become outputs: shifted left, then as proven; or as the reference has it, by the code given."""

    shift: int
    proven: Proven | None
    code: tuple[int, int]

    @property
    def words(self) -> int:
        """Of parameters for an output; a double counts as two."""
        return 3 if self.proven is None else 3 + (self.proven.negative is not None)


@lru_cache(maxsize=256)
def _rounding(layer: FullyConnected) -> _Rounding:
    """With the widest shift that 32 bits allow, or one less; 8 is that of chained rows."""
    most = max(int(np.abs(end).max()) for end in layer.range.ends)
    widest = min(SCALE.bit_length(), (INT32_MAX // max(most, 1)).bit_length()) - 1
    for shift in range(widest, max(widest - 2, -1), -1):
        proven = requantize.prove_multiply_add(layer.requantization, layer.range, 1 << shift)
        if proven is not None:
            return _Rounding(shift, proven, _PROVEN)
    return _Rounding(0, None, _INTEGERS if layer.requantization.scales is None else _DOUBLES)


@dataclass(frozen=True)
class _Parts:
    """``count`` parts of ``size`` inputs, of which the last one has ``last`` (with its padding ``padded``)."""

    count: int
    size: int
    last: int
    padded: int

    @property
    def copied(self) -> bool:
        """Whether the last part has to be padded."""
        return self.last != self.padded

    @property
    def inputs(self) -> int:
        """Of all parts, padded."""
        return (self.count - 1) * self.size + self.padded

    @property
    def zeros(self) -> int:
        """Bytes of the last part that are cleared once: from its last whole word on."""
        return self.padded - self.last // 4 * 4

    @property
    def sizes(self) -> list[int]:
        """Inputs of each part, padded."""
        return [self.size] * (self.count - 1) + [self.padded]


def parts_of(layer: FullyConnected, step: int) -> _Parts | None:
    """The fewest parts, of multiples of ``step`` inputs, whose accumulators 256 times fit 32 bits."""
    depth = layer.weights.shape[1]
    fewest, none = -(-depth // MOST_INPUTS), np.zeros_like(layer.bias)
    for count in range(fewest, depth // step + 2):
        size = -(-depth // (count * step)) * step
        starts = range(0, depth, size)
        ranges = [
            accumulator_range(layer.weights[:, at : at + size].T.astype(np.int64), none, layer.input_zero_point)
            for at in starts
        ]
        if max(np.abs(end).max() for span in ranges for end in span.ends) * SCALE <= INT32_MAX:
            last = depth - starts[-1]
            return _Parts(len(starts), size, last, -(-last // step) * step)
    return None


@dataclass(frozen=True)
class ChainedParts:
    """Four rows or more of any number of inputs."""

    computes: type
    name: ClassVar[str] = "chained parts"

    def plans(self, layer: Layer) -> tuple[Plan, ...]:
        matrix = as_matrix(layer)
        if matrix is None or len(matrix.weights) < ROWS or matrix.weights.shape[1] < 2 * _UNROLL:
            return ()
        if in_one_part(matrix):
            return ()
        made = (self._plan(matrix, packed, _rounding(matrix)) for packed in (False, True))
        return pareto(plan for plan in made if plan is not None)

    def _plan(self, layer: FullyConnected, packed: bool, rounding: _Rounding) -> Plan | None:
        (m, depth), kernel = layer.weights.shape, _kernel(layer, packed)
        parts = parts_of(layer, 4 * kernel.unroll)
        if parts is None:
            return None
        weights = _weights(layer, kernel, parts, rounding)
        if not chains.fits(weights.reshape(-1, ROWS, parts.inputs), packed):
            return None
        tiles = len(weights) // kernel.rows
        sums = tiles * kernel.rows
        words, rest = divmod(depth, 4)
        read, scratch = loads(words, 4) + loads(rest, 1), stores(sums, 4) + loads(m, 4)
        scratch += (loads(sums, 4) + stores(sums, 4)).times(parts.count)
        parameters = loads(sum(tiles * kernel.words(size) for size in parts.sizes) + m * rounding.words, 4)
        stack = sum((kernel.stack(tiles, size) for size in parts.sizes), Access())
        call = around.piece(around.CALL)
        body: list[Node] = [call, around.fill_words(sums)]
        if parts.copied:
            scratch += stores(parts.last // 4, 4) + stores(parts.last % 4, 1) + loads(parts.padded // 4, 4)
            body += [call, around.copy_bytes(parts.last)]
        body += [node for size in parts.sizes for node in (call, kernel.call(tiles, size))]
        body.append(Loop((compiled(*rounding.code, rounding.words),), m))
        filled = stores(parts.zeros // 4, 4) if parts.copied else Access()
        filling = (call, around.fill_words(parts.zeros // 4)) if parts.copied else ()
        code = (*around.entry(), *filling, Loop(tuple(body), layer.rows))
        return Plan(
            family=self.name,
            tile=f"{parts.count} of {kernel.rows}x{parts.size}{', packed' if packed else ''}",
            cycles=round(cycles_of(code)),
            promise=Promise(
                (read.times(layer.rows),),
                stores(m, 1).times(layer.rows),
                parameters.times(layer.rows),
                scratch.times(layer.rows) + filled,
                stack.times(layer.rows),
            ),
            data_bytes=data_bytes(_arrays(layer, kernel, parts, "")),
            code_bytes=kernel.code_bytes + 200,
            scratch_bytes=4 * sums + (parts.padded if parts.copied else 0),
            stack_bytes=2 * max(parts.sizes) + 80,
            kernels=(kernel.name,),
            shared_bytes=kernel.code_bytes,
            code=code,
            in_place=layer.rows == 1,
            alignment=4,
            words=rounding.code != _DOUBLES,
            requantization=rounding.proven.describe() if rounding.proven else "the reference's own arithmetic",
            options=(("packed", int(packed)),),
        )

    def emit(self, layer: Layer, plan: Plan, name: str) -> Emitted:
        matrix = as_matrix(layer)
        assert matrix is not None
        rounding = _rounding(matrix)
        kernel = _kernel(matrix, bool(plan.option("packed")))
        parts = parts_of(matrix, 4 * kernel.unroll)
        assert parts is not None
        m, depth = matrix.weights.shape
        tiles = _rows(matrix, kernel) // kernel.rows
        return emitted(
            unary(name),
            plan,
            title_of(layer),
            "kernels/chained_rows/chained_parts_layer.c.j2",
            arrays=_arrays(matrix, kernel, parts, name),
            kernels=(kernel,),
            layer=matrix,
            kernel=kernel.name,
            parts=parts,
            step=tiles * kernel.words(parts.size),
            sums=tiles * kernel.rows,
            depth=depth,
            outputs=m,
            q=Output.of(rounding.proven, matrix.requantization) if rounding.proven else None,
            shift=rounding.shift,
        )


def in_one_part(layer: FullyConnected) -> bool:
    """Whether chained rows need no parts."""
    return layer.weights.shape[1] <= MOST_INPUTS and chained_rows.prove(layer) is not None


def _kernel(layer: FullyConnected, packed: bool) -> ChainedRowsKernel:
    number = 2 if len(layer.weights) > ROWS else 1
    return ChainedRowsKernel(number, _UNROLL // 2 if packed else _UNROLL, packed, None)


def _rows(layer: FullyConnected, kernel: ChainedRowsKernel) -> int:
    """Rows in whole tiles: none may add to a sum twice."""
    return -(-len(layer.weights) // kernel.rows) * kernel.rows


def _weights(layer: FullyConnected, kernel: ChainedRowsKernel, parts: _Parts, rounding: _Rounding) -> Int64Array:
    """[rows of whole tiles, inputs of padded parts]."""
    constant = np.zeros(len(layer.weights), np.bool_) if rounding.proven is None else rounding.proven.constant
    w = weights_of(layer, constant, parts.inputs)
    return np.concatenate([w, np.zeros((_rows(layer, kernel) - len(w), parts.inputs), np.int64)])


def _arrays(layer: FullyConnected, kernel: ChainedRowsKernel, parts: _Parts, name: str) -> list[Array]:
    rounding = _rounding(layer)
    w = _weights(layer, kernel, parts, rounding)
    first = np.arange(len(w) - kernel.rows, -1, -kernel.rows)
    streams = []
    for number, size in enumerate(parts.sizes):
        part = w[:, number * parts.size : number * parts.size + size]
        tiles = tile_words(kernel, part, -layer.input_zero_point * part.sum(axis=1), first)
        streams.append(np.concatenate([tiles, 4 * first[:, None]], axis=1).ravel())
    comment = f"part by part, {kernel.rows} rows at a time: starts, chained weights, where the first row's sum is"
    weights = Array("int32_t", f"{name}_weights", np.concatenate(streams), comment)
    if rounding.proven is None:
        return [weights, *reference_rounding(layer, name)]
    bias = np.where(rounding.proven.constant, 0, layer.bias << rounding.shift) + rounding.proven.start
    parameters = np.concatenate([bias[:, None], channel_parameters(rounding.proven)], axis=1)
    return [weights, Array("int32_t", f"{name}_rows", parameters, "of each row: bias, multiplier, addend")]


FAMILIES = (ChainedParts(FullyConnected), ChainedParts(Conv))
