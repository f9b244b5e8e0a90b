"""FULLY_CONNECTED on raw bytes of weights: the roles of raw_pairs swapped.

A word of four weights of a row is the halfwords R = 256 w1 + w0, and SXTB16 gives E = w0. The inputs become
A = x1 - 127 and B = 256 x0 - A, once for the layer; both fit 16 bits for every int8 input, and

    SMLAD(R, A) + SMLAD(E, B) = 256 (w1 (x1 - 127) + w0 x0).

The accumulator is 256 times the true one; 127 times the odd weights and the zero point fold into the bias. A byte
of flash holds a weight. Preconditions, checked offline: R fits 16 bits, 256 |acc| < 2^31 for every input, and the
requantisation is proven.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from memaopt import fixedpoint
from memaopt.access import Access, loads, stores
from memaopt.alignment import align
from memaopt.fixedpoint import Int64Array
from memaopt.kernels import around
from memaopt.kernels.code import Call, Constants, Loop
from memaopt.kernels.emitted import Emitted, emitted, unary
from memaopt.kernels.plan import Plan, Promise, saved
from memaopt.kernels.rounding import cleared
from memaopt.kernels.rounding.output import Output, channel_parameters
from memaopt.kernels.rounding.requantize import Proven
from memaopt.kernels.text.c import Array, words_bytes
from memaopt.kernels.text.templates import render
from memaopt.problems.layers import FullyConnected

SCALE = 256
_MOST_ROWS = 8
_UNROLLS = (4, 8)  # most words of a row in one turn of the loop; 4 keep it within 1 KiB
_MOST_INPUTS = 2048  # their pairs take twice as many bytes of stack


class _Cycles(NamedTuple):
    """Of the kernel's parts, instruction by instruction (docs/timing.md)."""

    call: int = 10 + 6 + 10 + 16  # nine registers pushed and popped, four words kept, SP moved, inputs set up
    pairs: int = 13  # of four inputs: a load, pairs A and B, stored
    tile: int = 1 + 2 - 1 + 4 + 3 + 3  # biases, where inputs end; the last turn's branch; where outputs go; and back
    bias: int = 1
    turn: int = 5  # the weights move on, compared, and back
    inputs: int = 2  # two words of a block
    group: int = 1  # of weights: the first of loads in a row takes two
    weights: int = 1 + 3  # of a row: loaded, SXTB16, two products
    stage: int = 1  # of one or two rows: its words are loaded at once
    next_stage: int = 1  # right after a store
    byte: int = 1  # stored, beside its output stage


class _LayerCycles(NamedTuple):
    """Of the C around it, fitted to counts of layers on the virtual board (GCC 12.2 -O3)."""

    layer: int = 4
    row: int = 12  # of several
    padding: int = 30
    padded_word: int = 8
    padded_byte: int = 6
    padded_row: int = 20


_CYCLES, _LAYER = _Cycles(), _LayerCycles()


@dataclass(frozen=True)
class RowsKernel:
    """``m`` rows at a time, ``unroll`` words of each in a turn of the loop; the inputs' number is an argument."""

    m: int
    unroll: int
    output: Output

    @property
    def name(self) -> str:
        return f"fully_connected_{self.m}x{4 * self.unroll}_{self.output.slug}"

    @property
    def _groups(self) -> int:
        """Groups of loads in a block: two inputs' words and as many weights as there are registers."""
        return -(-self.m // (10 - self.m))

    @property
    def block_cycles(self) -> int:
        """Four inputs, m rows."""
        return _CYCLES.inputs + _CYCLES.group * self._groups + _CYCLES.weights * self.m

    def tile_cycles(self, k: int) -> int:
        """m rows of k inputs."""
        c, turns = _CYCLES, k // (4 * self.unroll)
        stages = -(-self.m // (1 if self.output.by_sign else 2))
        output = c.stage * stages + c.next_stage * (stages - 1)
        row = c.bias + self.output.words + self.output.cycles + c.byte
        return c.tile + turns * (self.unroll * self.block_cycles + c.turn) + output + self.m * row

    def call_cycles(self, k: int) -> int:
        """Entry, exit and the inputs' pairs."""
        return _CYCLES.call + _CYCLES.pairs * (k // 4)

    @property
    def code_bytes(self) -> int:
        step = 1 if self.output.by_sign else 2
        output = 6 + -(-self.m // step) + self.m * (self.output.cycles + 1)
        return self.loop_bytes + 4 * (output + 26)

    @property
    def loop_bytes(self) -> int:
        """Of the loop over inputs."""
        return 4 * (self.unroll * (2 + 4 * self.m) + 4)

    def words(self, k: int) -> int:
        """Of parameters for m rows: biases, weights, the first channel's number, output parameters."""
        return self.m + self.m * k // 4 + 1 + self.m * self.output.words

    def stack(self, tiles: int, k: int) -> Access:
        """Of a call for so many tiles: the inputs as pairs lie there, and where the kernel is."""
        pairs = k // 2
        return saved(9) + stores(pairs + 4, 4) + loads(1 + tiles * (3 + pairs), 4)

    #: The weights, once through.
    constants = (Constants("lr", "r2"),)

    def call(self, tiles: int, k: int) -> Call:
        """A call for so many tiles of m rows, of ``k`` inputs."""
        return Call(self, (k / 4, tiles, k / (4 * self.unroll)))

    def text(self, attribute: str = "") -> str:
        """The kernel's C text; ``attribute`` says where it lies."""
        rows = f"{self.m} rows" if self.m > 1 else "One row"
        return render(
            "kernels/fully_connected/fully_connected.c.j2",
            name=self.name,
            attribute=attribute,
            title=f"{rows} of a fully connected layer at a time, {4 * self.unroll} inputs in a turn of the loop.",
            m=self.m,
            unroll=self.unroll,
            q=self.output,
            low=self.output.low,
            high=self.output.high,
        )


def first_rows(m: int, rows: int) -> Int64Array:
    """First row of each tile: from the last one down to 0, which ends the loop; the last may overlap."""
    firsts = list(range(m - rows, -1, -rows))
    return np.array(firsts if firsts[-1] == 0 else [*firsts, 0], np.int64)


def weight_stream(layer: FullyConnected, kernel: RowsKernel, k: int, proven: Proven) -> Int64Array:
    """The kernel's parameters in the order in which it reads them, as int32 words; ``k`` inputs, padded."""
    m, depth = layer.weights.shape
    w = np.zeros((m, k), np.int64)
    w[:, :depth] = layer.weights
    folded = layer.bias - layer.input_zero_point * w.sum(axis=1) + 127 * w[:, 1::2].sum(axis=1)
    bias = fixedpoint.wrap_int32(SCALE * folded + proven.start)
    halves = 256 * w[:, 1::2] + w[:, ::2]
    words = fixedpoint.wrap_int32((halves[:, ::2] & 0xFFFF) | (halves[:, 1::2] << 16))
    # Turns of the loop go from the last inputs to the first.
    turns = words.reshape(m, -1, kernel.unroll)[:, ::-1].reshape(m, -1)
    first = first_rows(m, kernel.m)
    rows = first[:, None] + np.arange(kernel.m)
    return np.concatenate(
        [
            bias[rows],
            turns[rows].transpose(0, 2, 1).reshape(len(first), -1),
            first[:, None],
            channel_parameters(proven)[rows].reshape(len(first), -1),
        ],
        axis=1,
    )


def fits(layer: FullyConnected) -> bool:
    """Whether 256 w1 + w0 fits 16 bits for every pair of weights: it does unless w1 = -128 and w0 < 0."""
    w = layer.weights
    paired = w.shape[1] // 2 * 2
    return not bool(((w[:, 1:paired:2] == -128) & (w[:, :paired:2] < 0)).any())


class RawRows:
    """FULLY_CONNECTED with up to 2048 inputs."""

    name = "raw rows"
    computes = FullyConnected

    def plans(self, layer: FullyConnected) -> tuple[Plan, ...]:
        m, depth = layer.weights.shape
        if not fits(layer) or depth > _MOST_INPUTS:
            return ()
        proven = _proven(layer)
        if proven is None:
            return ()
        output = Output.of(proven, layer.requantization)
        words = -(-depth // 4)
        k = 4 * words
        plans = []
        for unroll in sorted({max(u for u in range(1, most + 1) if words % u == 0) for most in _UNROLLS}):
            kernels = [RowsKernel(rows, unroll, output) for rows in range(1, min(_MOST_ROWS, m) + 1)]
            best = min(kernels, key=lambda kernel: len(first_rows(m, kernel.m)) * kernel.tile_cycles(k))
            plans.append(self._plan(layer, best, k, proven))
        return tuple(plans)

    def _plan(self, layer: FullyConnected, kernel: RowsKernel, k: int, proven: Proven) -> Plan:
        m, depth = layer.weights.shape
        tiles = len(first_rows(m, kernel.m))
        padded = k != depth
        words, rest = divmod(depth, 4)
        read = loads(words, 4) + loads(rest, 1) if padded else loads(words, 4)
        c = _LAYER
        cycles = c.layer + layer.rows * (tiles * kernel.tile_cycles(k) + kernel.call_cycles(k))
        cycles += c.row * layer.rows if layer.rows > 1 else 0
        scratch = (stores(words, 4) + stores(rest, 1) + loads(k // 4, 4)).times(layer.rows) + stores(1, 4)
        if padded:
            cycles += layer.rows * (c.padded_word * words + c.padded_byte * rest + c.padded_row) + c.padding
        data = 4 * tiles * kernel.words(k)
        call = around.piece(around.CALL)
        filled = (call, around.fill_words(1)) if padded else ()
        copying = (call, around.copy_bytes(depth)) if padded else ()
        return Plan(
            family=self.name,
            tile=f"{kernel.m}x{4 * kernel.unroll}",
            cycles=cycles,
            promise=Promise(
                (read.times(layer.rows),),
                stores(tiles * kernel.m, 1).times(layer.rows),
                loads(data // 4, 4).times(layer.rows),
                scratch if padded else Access(),
                kernel.stack(tiles, k).times(layer.rows),
            ),
            data_bytes=words_bytes(data // 4),
            code_bytes=kernel.code_bytes + around.ROWS_FRAME.code,
            scratch_bytes=k if padded else 0,
            stack_bytes=2 * k + around.ROWS_FRAME.stack,
            kernels=(kernel.name,),
            shared_bytes=kernel.code_bytes,
            code=(*around.entry(), *filled, Loop((*copying, kernel.call(tiles, k)), layer.rows)),
            in_place=layer.rows == 1,
            alignment=4,
            requantization=proven.describe(),
            options=(("rows", kernel.m), ("unroll", kernel.unroll)),
        )

    def emit(self, layer: FullyConnected, plan: Plan, name: str) -> Emitted:
        m, depth = layer.weights.shape
        proven = _proven(layer)
        assert proven is not None
        kernel = RowsKernel(plan.option("rows"), plan.option("unroll"), Output.of(proven, layer.requantization))
        k = align(depth, 4)
        stream = weight_stream(layer, kernel, k, proven)
        comment = f"{kernel.m} rows at a time: biases, weights, number of the first row, output stage"
        arrays = [Array("int32_t", f"{name}_weights", stream, comment)]
        title = f"FULLY_CONNECTED {layer.rows}x{depth} -> {layer.rows}x{m}"
        return emitted(
            unary(name),
            plan,
            title,
            "kernels/fully_connected/fully_connected_layer.c.j2",
            arrays=arrays,
            kernels=(kernel,),
            layer=layer,
            kernel=kernel.name,
            k=k,
            depth=depth,
            outputs=m,
            padded=k != depth,
            tail_words=1,
        )


@lru_cache(maxsize=256)
def _proven(layer: FullyConnected) -> Proven | None:
    return cleared.prove_multiply_add(layer.requantization, layer.range, SCALE)


FAMILIES = (RawRows(),)
