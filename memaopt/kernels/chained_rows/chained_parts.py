"""FULLY_CONNECTED with more inputs than a tile has room for, with accumulators that 256 times leave 32 bits, or with
weights of -128 whose chains leave 16.

The inputs come in parts. Chained rows (chains.py) of each part add their accumulators, at scale 1, to sums of 32 bits
in scratch memory, which are requantised in the end. Weights of -128 that would not fit are -127 in the chains, and
their inputs are taken off the sums once more. Precondition, checked offline: 256 |acc| < 2^31 in each part (parts of
256 inputs always do). The requantisation is proven with the whole accumulators
shifted left as far as 32 bits allow; where that fails, it is the reference's own.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import ClassVar

import numpy as np

from memaopt.access import Access, loads, stores
from memaopt.alignment import align
from memaopt.fixedpoint import INT32_MAX, Int64Array
from memaopt.kernels import around
from memaopt.kernels.around import Compiled
from memaopt.kernels.chained_rows import chained_rows, chains
from memaopt.kernels.chained_rows.chained_rows import MOST_INPUTS, as_matrix, tile_words, title_of, weights_of
from memaopt.kernels.chained_rows.chains import ROWS, SCALE
from memaopt.kernels.chained_rows.kernel import ChainedRowsKernel
from memaopt.kernels.chained_rows.sum_rounding import SumRounding, sum_rounding
from memaopt.kernels.code import Loop, Node, compiled
from memaopt.kernels.emitted import Emitted, emitted, unary
from memaopt.kernels.executed import cycles_of
from memaopt.kernels.family import data_bytes, pareto
from memaopt.kernels.plan import Plan, Promise
from memaopt.kernels.text.c import Array
from memaopt.problems.layers import Conv, FullyConnected, Layer
from memaopt.problems.step_functions import accumulator_range

_TAKEN_OFF = Compiled(32, 14)  # an input, off a sum
_FRAME = around.Frame(320, 80)
_UNROLL = 8  # words of inputs in a turn of the loop; for weights of a byte, half as many stay within 1 KiB


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
            return _Parts(len(starts), size, last, align(last, step))
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
        made = (self._plan(matrix, packed, sum_rounding(matrix)) for packed in (False, True))
        return pareto(plan for plan in made if plan is not None)

    def _plan(self, layer: FullyConnected, packed: bool, rounding: SumRounding) -> Plan | None:
        (m, depth), kernel = layer.weights.shape, _kernel(layer, packed)
        chained, at = _raised(layer)
        taken = len(at)
        parts = parts_of(chained, 4 * kernel.unroll)
        if parts is None:
            return None
        weights = _weights(chained, kernel, parts)
        tiles = len(weights) // kernel.rows
        sums = tiles * kernel.rows
        words, rest = divmod(depth, 4)
        read, scratch = loads(words, 4) + loads(rest + taken, 1), stores(sums + taken, 4) + loads(m + taken, 4)
        scratch += (loads(sums, 4) + stores(sums, 4)).times(parts.count)
        streamed = sum(tiles * kernel.words(size) for size in parts.sizes)
        parameters = loads(streamed + m * rounding.words + 2 * taken, 4)
        stack = sum((kernel.stack(tiles, size) for size in parts.sizes), Access())
        call = around.piece(around.CALL)
        body: list[Node] = [call, around.fill_words(sums)]
        if parts.copied:
            scratch += stores(parts.last // 4, 4) + stores(parts.last % 4, 1) + loads(parts.padded // 4, 4)
            body += [call, around.copy_bytes(parts.last)]
        body += [node for size in parts.sizes for node in (call, kernel.call(tiles, size))]
        if taken:
            body.append(Loop((compiled(*_TAKEN_OFF, 2),), taken))
        body.append(Loop((compiled(*rounding.code, rounding.words),), m))
        filled = stores(parts.zeros // 4, 4) if parts.copied else Access()
        filling = (call, around.fill_words(parts.zeros // 4)) if parts.copied else ()
        code = (*around.entry(), *filling, Loop(tuple(body), layer.rows))
        return Plan(
            family=self.name,
            tile=f"{parts.count} of {kernel.rows}x{parts.size}{', packed' if packed else ''}",
            cycles=round(cycles_of(code)) + words * around.unaligned_words(depth * np.arange(layer.rows)),
            promise=Promise(
                (read.times(layer.rows),),
                stores(m, 1).times(layer.rows),
                parameters.times(layer.rows),
                scratch.times(layer.rows) + filled,
                stack.times(layer.rows),
            ),
            data_bytes=data_bytes(_arrays(layer, kernel, parts, "")),
            code_bytes=kernel.code_bytes + _FRAME.code,
            scratch_bytes=4 * sums + (parts.padded if parts.copied else 0),
            stack_bytes=2 * max(parts.sizes) + _FRAME.stack,
            kernels=(kernel.name,),
            shared_bytes=kernel.code_bytes,
            code=code,
            in_place=layer.rows == 1,
            alignment=4,
            words=rounding.whole,
            requantization=rounding.describe(),
            options=(("packed", int(packed)),),
        )

    def emit(self, layer: Layer, plan: Plan, name: str) -> Emitted:
        matrix = as_matrix(layer)
        assert matrix is not None
        rounding = sum_rounding(matrix)
        kernel = _kernel(matrix, bool(plan.option("packed")))
        chained, at = _raised(matrix)
        parts = parts_of(chained, 4 * kernel.unroll)
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
            taken=len(at),
            outputs=m,
            q=rounding.output(matrix),
            shift=rounding.shift,
        )


def in_one_part(layer: FullyConnected) -> bool:
    """Whether chained rows need no parts."""
    if layer.weights.shape[1] > MOST_INPUTS:
        return False
    proven = chained_rows.prove(layer)
    return proven is not None and chained_rows.fits(layer, proven)


@lru_cache(maxsize=256)
def _raised(layer: FullyConnected) -> tuple[FullyConnected, Int64Array]:
    """The layer with the weights that chains take, and which of them are raised: [row, input] each."""
    w = weights_of(layer, sum_rounding(layer).constant, layer.weights.shape[1])
    w = np.concatenate([w, np.zeros((-len(w) % ROWS, w.shape[1]), np.int64)])
    raised = chains.raised(w, np.arange(len(w)).reshape(-1, ROWS))
    return replace(layer, weights=raised.weights[: len(layer.weights)].astype(np.int8)), raised.at


def _kernel(layer: FullyConnected, packed: bool) -> ChainedRowsKernel:
    number = 2 if len(layer.weights) > ROWS else 1
    return ChainedRowsKernel(number, _UNROLL // 2 if packed else _UNROLL, packed, None)


def _rows(layer: FullyConnected, kernel: ChainedRowsKernel) -> int:
    """Rows in whole tiles: none may add to a sum twice."""
    return align(len(layer.weights), kernel.rows)


def _weights(chained: FullyConnected, kernel: ChainedRowsKernel, parts: _Parts) -> Int64Array:
    """[rows of whole tiles, inputs of padded parts]."""
    w = weights_of(chained, np.zeros(len(chained.weights), np.bool_), parts.inputs)
    return np.concatenate([w, np.zeros((_rows(chained, kernel) - len(w), parts.inputs), np.int64)])


def _arrays(layer: FullyConnected, kernel: ChainedRowsKernel, parts: _Parts, name: str) -> list[Array]:
    chained, at = _raised(layer)
    w = _weights(chained, kernel, parts)
    first = np.arange(len(w) - kernel.rows, -1, -kernel.rows)
    streams = []
    for number, size in enumerate(parts.sizes):
        part = w[:, number * parts.size : number * parts.size + size]
        tiles = tile_words(kernel, part, -layer.input_zero_point * part.sum(axis=1), first)
        streams.append(np.concatenate([tiles, 4 * first[:, None]], axis=1).ravel())
    comment = f"part by part, {kernel.rows} rows at a time: starts, chained weights, where the first row's sum is"
    weights = Array("int32_t", f"{name}_weights", np.concatenate(streams), comment)
    arrays = [weights]
    if len(at):
        arrays.append(Array("int32_t", f"{name}_raised", at, chains.RAISED))
    return [*arrays, *sum_rounding(layer).arrays(layer, name)]


FAMILIES = (ChainedParts(FullyConnected), ChainedParts(Conv))
