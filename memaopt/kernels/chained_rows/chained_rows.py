"""FULLY_CONNECTED, and CONV_2D at one position, by chained rows (chains.py): eight rows as six sums.

Two inputs take one word of x, which become halfwords once for the layer, six words of weights (four, if a weight takes
a byte) and six SMLAD for 16 multiply-accumulates. Preconditions, checked offline: the chains fit 16 bits,
256 |acc| < 2^31 for every input (where the output depends on it at all), and the requantisation is proven with initial
accumulators that are whole.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import ClassVar

import numpy as np

from memaopt.access import Access, loads, stores
from memaopt.alignment import align
from memaopt.fixedpoint import Int64Array, wrap_int32
from memaopt.kernels import around
from memaopt.kernels.chained_rows import chains
from memaopt.kernels.chained_rows.chains import ROWS, SCALE
from memaopt.kernels.chained_rows.kernel import ChainedRowsKernel
from memaopt.kernels.code import Literal, Loop, Node
from memaopt.kernels.emitted import Emitted, emitted, unary
from memaopt.kernels.executed import cycles_of
from memaopt.kernels.family import dimensions, pareto
from memaopt.kernels.fully_connected.fully_connected import first_rows
from memaopt.kernels.plan import Plan, Promise
from memaopt.kernels.rounding import requantize
from memaopt.kernels.rounding.output import Output, channel_parameters
from memaopt.kernels.rounding.requantize import Proven
from memaopt.kernels.rounding.thresholds import Bools
from memaopt.kernels.text.c import Array, words_bytes
from memaopt.problems.layers import Conv, FullyConnected, Layer
from memaopt.problems.step_functions import AccumulatorRange

_UNROLLS = (4, 8, 16)  # most words of inputs in one turn of the loop; 4 or 8 stay within 1 KiB
_MOST_STRAIGHT = 1024  # inputs: 26 bytes of code each
MOST_INPUTS = 2048  # as halfwords they take twice as many bytes of stack


def weight_stream(layer: FullyConnected, kernel: ChainedRowsKernel, k: int, proven: Proven) -> Int64Array:
    """The kernel's parameters in the order in which it reads them, as int32 words; ``k`` inputs, padded."""
    w = weights_of(layer, proven.constant, k)
    folded = np.where(proven.constant, 0, layer.bias - layer.input_zero_point * w.sum(axis=1))
    first = first_rows(len(w), kernel.rows)
    rows = first[:, None] + np.arange(kernel.rows)
    of_rows = channel_parameters(proven)[rows]
    parameters = of_rows[:, 0] if kernel.shared else of_rows.reshape(len(first), -1)
    tiles = tile_words(kernel, w, folded + proven.start // SCALE, first)
    return np.concatenate([tiles, first[:, None], parameters], axis=1)


def tile_words(kernel: ChainedRowsKernel, w: Int64Array, starts: Int64Array, first: Int64Array) -> Int64Array:
    """Starts and weights [M, k] of the tiles whose first rows these are, [tiles, words]."""
    rows = first[:, None, None] + np.arange(kernel.rows).reshape(kernel.chains, ROWS)
    # SXTB16's order: inputs 0 and 2, then 1 and 3. Turns of the loop go from the last inputs to the first.
    ordered = w.reshape(len(w), -1, 2, 2).transpose(0, 1, 3, 2).reshape(w.shape)
    words = chains.words(ordered[rows], kernel.packed)
    turns = words.reshape(len(first), kernel.words_a_pair, -1, 2 * kernel.unroll)[:, :, ::-1]
    return np.concatenate(
        [
            wrap_int32(chains.chained(starts[rows][..., None])).reshape(len(first), -1),
            turns.transpose(0, 2, 3, 1).reshape(len(first), -1),
        ],
        axis=1,
    )


def weights_of(layer: FullyConnected, constant: Bools, k: int) -> Int64Array:
    """[M, k], padded; none in rows that are marked as ``constant``."""
    w = np.zeros((len(layer.weights), k), np.int64)
    w[:, : layer.weights.shape[1]] = np.where(constant[:, None], 0, layer.weights)
    return w


def as_matrix(layer: Layer) -> FullyConnected | None:
    """The layer as a matrix times vectors; None for a convolution but of one window, the beginning of the image."""
    if isinstance(layer, FullyConnected):
        return layer
    assert isinstance(layer, Conv)
    window, kernel = layer.window, layer.window.kernel
    whole = kernel.width == layer.shape.width or kernel.height == 1
    dense = all(size == 1 or apart == 1 for size, apart in zip(kernel, window.dilation, strict=True))
    # What lies below or to the right of the image is padding too.
    inside = all(
        (size - 1) * apart < there for size, apart, there in zip(kernel, window.dilation, layer.shape[:2], strict=True)
    )
    if layer.output.positions != 1 or layer.groups != 1 or any(window.padding) or not (whole and dense and inside):
        return None
    weights = layer.weights.reshape(len(layer.weights), -1)
    return FullyConnected(1, weights, layer.bias, layer.input_zero_point, layer.requantization)


def title_of(layer: Layer) -> str:
    """For the layer's head comment."""
    if isinstance(layer, Conv):
        return f"CONV_2D {dimensions(layer.shape)} -> {dimensions(layer.output)}, {layer.window.describe()}"
    assert isinstance(layer, FullyConnected)
    m, depth = layer.weights.shape
    return f"FULLY_CONNECTED {layer.rows}x{depth} -> {layer.rows}x{m}"


@dataclass(frozen=True)
class ChainedRows:
    """Four rows or more, of up to 2048 inputs."""

    computes: type
    name: ClassVar[str] = "chained rows"

    def plans(self, layer: Layer) -> tuple[Plan, ...]:
        matrix = as_matrix(layer)
        if matrix is None or len(matrix.weights) < ROWS or matrix.weights.shape[1] > MOST_INPUTS:
            return ()
        proven = prove(matrix)
        if proven is None:
            return ()
        return pareto(self._plan(matrix, kernel, proven) for kernel in _kernels(matrix, proven))

    def _plan(self, layer: FullyConnected, kernel: ChainedRowsKernel, proven: Proven) -> Plan:
        m, depth = layer.weights.shape
        k, tiles = align(depth, 4), len(first_rows(m, kernel.rows))
        words, rest = divmod(depth, 4)
        read, scratch = loads(words, 4) + loads(rest, 1), Access()
        call = around.piece(around.CALL)
        code: tuple[Node, ...] = (call, kernel.call(tiles, k))
        if rest:
            scratch = (stores(words, 4) + stores(rest, 1) + loads(k // 4, 4)).times(layer.rows) + stores(1, 4)
            code = (call, around.copy_bytes(depth), *code)
        if rest or layer.rows > 1:
            filling = (call, around.fill_words(1)) if rest else ()
            code = (*around.entry(), *filling, Loop(code, layer.rows))
        else:
            code = (*code, Literal())
        data = tiles * kernel.words(k)
        return Plan(
            family=self.name,
            tile=f"{kernel.rows}x{4 * kernel.unroll}{', packed' * kernel.packed}{' straight' * kernel.straight}",
            cycles=round(cycles_of(code)) + words * around.unaligned_words(depth * np.arange(layer.rows)),
            promise=Promise(
                (read.times(layer.rows),),
                stores(tiles * kernel.rows, 1).times(layer.rows),
                loads(data, 4).times(layer.rows),
                scratch,
                kernel.stack(tiles, k).times(layer.rows),
            ),
            data_bytes=words_bytes(data),
            code_bytes=kernel.code_bytes + around.ROWS_FRAME.code,
            scratch_bytes=k if rest else 0,
            stack_bytes=2 * k + around.ROWS_FRAME.stack,
            kernels=(kernel.name,),
            shared_bytes=kernel.code_bytes,
            code=code,
            in_place=layer.rows == 1,
            alignment=4,
            requantization=proven.describe(),
            options=(
                ("chains", kernel.chains),
                ("unroll", kernel.unroll),
                ("packed", int(kernel.packed)),
                ("straight", int(kernel.straight)),
            ),
        )

    def emit(self, layer: Layer, plan: Plan, name: str) -> Emitted:
        matrix = as_matrix(layer)
        assert matrix is not None
        m, depth = matrix.weights.shape
        proven = prove(matrix)
        assert proven is not None
        output, shared = Output.of(proven, matrix.requantization), _share(proven)
        options = dict(plan.options)
        kernel = ChainedRowsKernel(
            options["chains"], options["unroll"], bool(options["packed"]), output, shared, bool(options["straight"])
        )
        k = align(depth, 4)
        comment = f"{kernel.rows} rows at a time: starts, chained weights, number of the first row, output stage"
        arrays = [Array("int32_t", f"{name}_weights", weight_stream(matrix, kernel, k, proven), comment)]
        return emitted(
            unary(name),
            plan,
            title_of(layer),
            "kernels/fully_connected/fully_connected_layer.c.j2",
            arrays=arrays,
            kernels=(kernel,),
            layer=matrix,
            kernel=kernel.name,
            k=k,
            depth=depth,
            outputs=m,
            padded=k != depth,
            tail_words=1,
        )


def _kernels(layer: FullyConnected, proven: Proven) -> Iterator[ChainedRowsKernel]:
    """With each number of words in a turn and both kinds of weights, the one of the fewest cycles; straight too."""
    m, k = len(layer.weights), align(layer.weights.shape[1], 4)
    w, output = weights_of(layer, proven.constant, k), Output.of(proven, layer.requantization)
    unrolls = {max(u for u in range(1, most + 1) if k // 4 % u == 0) for most in _UNROLLS}
    for packed in (False, True):
        numbers = [n for n in (1, 2) if ROWS * n <= m and chains.fits(w[_chained_rows(m, n)], packed)]
        forms = [(unroll, False) for unroll in sorted(unrolls)]
        forms += [(k // 4, True)] if k <= _MOST_STRAIGHT and not packed else []
        for unroll, straight in forms if numbers else ():
            kernels = [ChainedRowsKernel(n, unroll, packed, output, _share(proven), straight) for n in numbers]
            yield min(kernels, key=lambda kernel: kernel.cycles(len(first_rows(m, kernel.rows)), k))


def fits(layer: FullyConnected, proven: Proven) -> bool:
    """Whether chains of the layer's weights fit 16 bits."""
    m = len(layer.weights)
    w = weights_of(layer, proven.constant, layer.weights.shape[1])
    return any(chains.fits(w[_chained_rows(m, n)], packed=True) for n in (1, 2) if ROWS * n <= m)


def _chained_rows(m: int, number: int) -> Int64Array:
    """The rows of every chain in tiles of so many: [chains, ROWS]."""
    rows: Int64Array = (first_rows(m, ROWS * number)[:, None] + np.arange(ROWS * number)).reshape(-1, ROWS)
    return rows


def _share(proven: Proven) -> bool:
    """Whether all rows have the same parameters."""
    parameters = channel_parameters(proven)
    return bool((parameters == parameters[0]).all())


@lru_cache(maxsize=256)
def prove(layer: FullyConnected) -> Proven | None:
    """The requantisation of accumulators times 256, None if not found; one for all rows if their scales are equal."""
    q, span = layer.requantization, layer.range
    scales = {name: values for name in ("multipliers", "shifts", "scales") if (values := getattr(q, name)) is not None}
    if all((values == values[0]).all() for values in scales.values()):
        one = replace(q, **{name: values[:1] for name, values in scales.items()})
        widest = AccumulatorRange(span.low.min(keepdims=True), span.high.max(keepdims=True))
        proven = requantize.prove_multiply_add(one, widest, SCALE, step=SCALE)
        if proven is not None and not proven.constant.any():
            return proven.of_all(len(layer.weights))
    return requantize.prove_multiply_add(layer.requantization, layer.range, SCALE, step=SCALE)


FAMILIES = (ChainedRows(FullyConnected), ChainedRows(Conv))
