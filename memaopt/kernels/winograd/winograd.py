"""3x3 convolution by Winograd's F(4x4,3x3), in exact integers.

Four times four outputs from 6x6 inputs take 36 products instead of 144 (Winograd 1980; Lavin and Gray,
arXiv 1509.09308). With the matrices scaled to integers,

    U = G w G^T (offline, |U| <= 144 * 128),   V = B^T x B,   Y = A^T (U . V) A = 576 * accumulator,

U and V fit 16 bits, so two input channels meet in an SMLAD. All sums are modulo 2^32, and intermediates may wrap:
Y is exact whenever 576 |acc| < 2^31, which is checked offline. The division by 576 is the requantisation's.
U takes eight times the flash of the weights.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from memaopt import fixedpoint
from memaopt.access import Access, loads, stores
from memaopt.alignment import align
from memaopt.fixedpoint import Int64Array
from memaopt.kernels import around, blocks
from memaopt.kernels.code import Loop, Node, Staged
from memaopt.kernels.emitted import Emitted, emitted, unary
from memaopt.kernels.family import data_bytes, dimensions, pareto
from memaopt.kernels.plan import Format, Plan, Promise
from memaopt.kernels.rounding import cleared
from memaopt.kernels.rounding.output import Output, channel_parameters
from memaopt.kernels.rounding.requantize import Proven
from memaopt.kernels.staging import copying
from memaopt.kernels.strips import copied_rows_lead
from memaopt.kernels.text.c import Array, words_bytes
from memaopt.kernels.text.thumb import REACH
from memaopt.kernels.winograd.kernels import FPU, InputKernel, OutputKernel, ProductKernel
from memaopt.problems.layers import Conv

SCALE = 576
_G = np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 3]], np.int64)
#: Added to all of V's lower halves, which are -12,750 to 17,340: sums are at least 0, and at most 2^15 - 1.
_OFFSET = 0x3800
_ORDER = (0, 2, 1, 3)  # of each four channels: halves of the first word, then of the second


Kernels = tuple[InputKernel, ProductKernel, OutputKernel]


class _LayerCycles(NamedTuple):
    """Of the C around them, fitted to counts of layers on the virtual board (GCC 12.2 -O3)."""

    layer: int = 60  # entry and exit
    strip: int = 40
    pair: int = 20  # of tiles: a call of the input kernel
    chunk: int = 14  # calls of the other two


_LAYER = _LayerCycles()
_FRAME = around.Frame(440, 80)


def transformed_weights(layer: Conv, chunk: int) -> Int64Array:
    """U in the order in which the product kernel reads it: words of two channels."""
    w = layer.weights.astype(np.int64)
    u = np.einsum("ir,orsc,js->ojic", _G, w, _G)  # place 6 j + i
    outputs, _, _, depth = u.shape
    halves = u.reshape(outputs, 36, depth // 4, 4)[..., _ORDER].reshape(outputs, 36, depth // 2, 2)
    words = fixedpoint.wrap_int32((halves[..., 0] & 0xFFFF) | (halves[..., 1] << 16))
    grouped = words.reshape(outputs // chunk, chunk // 4, 4, 36, depth // 2)
    return grouped.transpose(0, 3, 1, 4, 2)


def channel_words(layer: Conv, proven: Proven) -> Int64Array:
    """Bias (with the input's zero point folded in), output stage and corrections of each channel."""
    w = layer.weights.astype(np.int64)
    # The kernel sees x + 128.
    bias = layer.bias - (layer.input_zero_point + 128) * w.sum(axis=(1, 2, 3))
    offset = np.zeros((6, 6), np.int64)
    offset[4:, 4:] = _OFFSET
    lower = w[..., [c for c in range(w.shape[3]) if c % 4 < 2]].sum(axis=3)
    places = [(i, j) for i in (2, 3) for j in (2, 3)]
    corrections = [(offset[i : i + 3, j : j + 3] * lower).sum(axis=(1, 2)) for i, j in places]
    start = (SCALE * bias + proven.start)[:, None]
    columns = [start, channel_parameters(proven), SCALE * np.stack(corrections, axis=1)]
    return fixedpoint.wrap_int32(np.concatenate(columns, axis=1))


def _reaches(turn: int, depth: int) -> bool:
    """Whether offsets from where U is reach its last word of a turn."""
    return 4 * (turn * depth // 2 - 1) <= REACH


class Winograd:
    """CONV_2D 3x3 without stride, dilation and groups, channels in fours, at least 4x8 outputs."""

    name = "winograd"
    computes = Conv

    def plans(self, layer: Conv) -> tuple[Plan, ...]:
        window, (height, width, outputs) = layer.window, layer.output
        plain = window.kernel == (3, 3) and window.stride == (1, 1) and window.dilation == (1, 1) and layer.groups == 1
        fits = height >= 4 and width >= 8 and layer.shape.channels % 4 == 0 and outputs % 4 == 0
        # V moves on by a column of places, the outputs' fourth lies three positions on.
        within = 24 * layer.shape.channels <= REACH and 3 * outputs <= REACH
        if not (plain and fits and within and max(window.padding) <= 1) or _proven(layer) is None:
            return ()
        chunks = {c for c in (4, 8, 16, 32) if outputs % c == 0}
        return pareto(
            self._plan(layer, chunk, turn, input_format, looped, holds)
            for holds in ((False, True) if layer.shape.channels <= FPU else (False,))
            for looped in (False, True)
            for chunk in chunks
            for turn in {4, max(turn for turn in (4, 8, 16) if turn <= chunk and _reaches(turn, layer.shape.channels))}
            for input_format in (Format.S8, Format.RAW)
        )

    def _kernels(self, layer: Conv, chunk: int, turn: int, looped: bool, holds: bool) -> Kernels:
        proven = _proven(layer)
        assert proven is not None
        depth, outputs, width = layer.shape.channels, layer.output.channels, layer.output.width
        return (
            InputKernel(depth, (width + 2) * depth, looped),
            ProductKernel(depth, chunk, turn, holds),
            OutputKernel(
                chunk, outputs, width * outputs, Output.of(proven, layer.requantization), looped, holds and not looped
            ),
        )

    def _plan(self, layer: Conv, chunk: int, turn: int, input_format: Format, looped: bool, holds: bool) -> Plan:
        proven = _proven(layer)
        assert proven is not None
        kernels = self._kernels(layer, chunk, turn, looped, holds)
        first, product, last = kernels
        depth, (_, width, outputs) = layer.shape.channels, layer.output
        tops = _tops(layer)
        ends = [(top + layer.window.padding.top + 4) * width * outputs for top in tops]
        cycles, promise = _work(layer, kernels, outputs)
        code = first.code_bytes + product.code_bytes + last.code_bytes
        return Plan(
            family=self.name,
            tile=f"F(4x4,3x3), {chunk} channels by {turn}{', held' if holds else ''}{', looped' if looped else ''}",
            cycles=round(_LAYER.layer + cycles),
            promise=promise,
            data_bytes=words_bytes(18 * depth * outputs) + words_bytes(outputs * last.words),
            code_bytes=code + _FRAME.code,
            scratch_bytes=6 * first.pitch + 144 * depth + 288 * chunk,
            stack_bytes=352 + _FRAME.stack,
            kernels=(first.name, product.name, last.name),
            shared_bytes=code,
            code=(*around.entry(), *_code(layer, kernels, outputs)),
            input_format=input_format,
            lead=copied_rows_lead(layer, tops, ends),
            alignment=4,
            requantization=proven.describe(),
            fpu=holds if depth <= FPU else None,
            options=(("chunk", chunk), ("hold", int(holds)), ("loop", int(looped)), ("turn", turn)),
        )

    def in_parts(self, layer: Conv, plan: Plan) -> Iterator[Plan]:
        """A plan's layer with its constants staged in equal blocks of channels: V is made again for each of them."""
        kernels = self._kernels(layer, *_options(plan))
        outputs = layer.output.channels
        for of in blocks.sizes(outputs, plan.option("chunk")):
            if outputs % of[0] == 0:
                (cycles, promise), count, words = _work(layer, kernels, of[0]), len(of), _words(layer, kernels, of[0])
                total = promise.times(count)
                scratch = total.scratch + stores(count * words, 4) + total.parameters
                work = blocks.BlockWork(
                    blocks.alike(of),
                    _LAYER.layer + count * (cycles + blocks.BLOCK.cycles),
                    total._replace(scratch=scratch, parameters=Access()),
                    (Staged(_code(layer, kernels, of[0])),),
                )
                yield blocks.in_blocks(plan, work, (copying(words, None),), words)

    def emit(self, layer: Conv, plan: Plan, name: str) -> Emitted:
        proven = _proven(layer)
        assert proven is not None
        kernels = self._kernels(layer, *_options(plan))
        chunk, block = plan.option("chunk"), plan.block or layer.output.channels
        weights, channels = transformed_weights(layer, chunk), channel_words(layer, proven)
        read, besides = "G w G^T, as the products read it", "bias, output stage, corrections"
        if plan.block:
            count = layer.output.channels // block
            both = np.concatenate([each.reshape(count, -1) for each in (weights, channels)], axis=1)
            comment = f"{block} channels at a time: {read}; {besides}"
            arrays = [Array("int32_t", f"{name}_weights", both, comment)]
        else:
            arrays = [
                Array("int32_t", f"{name}_weights", weights, read),
                Array("int32_t", f"{name}_channels", channels, besides),
            ]
        assert data_bytes(arrays) == plan.data_bytes
        depth, zero = layer.shape.channels, (layer.input_zero_point + 128) * 0x01010101
        title = f"CONV_2D {dimensions(layer.shape)} -> {dimensions(layer.output)}, {layer.window.describe()}"
        return emitted(
            unary(name),
            plan,
            title,
            "kernels/winograd/winograd_layer.c.j2",
            arrays=arrays,
            kernels=kernels,
            layer=layer,
            names=dict(zip(("input", "product", "output"), (k.name for k in kernels), strict=True)),
            pitch=kernels[0].pitch,
            lead=layer.window.padding.left * depth,
            row_bytes=layer.shape.width * depth,
            strip_bytes=6 * kernels[0].pitch,
            fill=f"{zero:#010x}",
            flip="0x80808080" if plan.input_format is Format.S8 else "0x80008000",
            chunk=chunk,
            chunks=block // chunk,
            block=plan.block,
            block_words=_words(layer, kernels, block),
            staged=align(plan.kernel_scratch, 4) // 4,
            channel_words=kernels[2].words,
        )


def _options(plan: Plan) -> tuple[int, int, bool, bool]:
    """What :meth:`Winograd._kernels` is told of a plan."""
    return plan.option("chunk"), plan.option("turn"), bool(plan.option("loop")), bool(plan.option("hold"))


def _words(layer: Conv, kernels: Kernels, outputs: int) -> int:
    """Constants of so many output channels."""
    return outputs * (18 * layer.shape.channels + kernels[2].words)


def _tops(layer: Conv) -> list[int]:
    """The first input row of each strip."""
    height = layer.output.height
    return [min(y, height - 4) - layer.window.padding.top for y in range(0, height, 4)]


def _work(layer: Conv, kernels: Kernels, outputs: int) -> tuple[float, Promise]:
    """Cycles and accesses of all positions of so many output channels, without the layer's entry."""
    first, product, last = kernels
    tops = _tops(layer)
    chunks, tiles = outputs // product.chunk, len(tops) * -(-layer.output.width // 8)
    copied = sum(0 <= row < layer.shape.height for top in tops for row in range(top, top + 6))
    zeroed = sum(row >= layer.shape.height for top in tops for row in range(top, top + 6))
    words = layer.shape.width * layer.shape.channels // 4
    filled = stores(6 * first.pitch // 4 + zeroed * first.pitch // 4, 4)
    scratch = filled + stores(copied * words, 4)
    scratch += (first.accesses[0] + first.accesses[1]).times(tiles)
    scratch += (product.accesses[0] + product.accesses[2] + last.accesses[0]).times(tiles * chunks)
    c = _LAYER
    cycles = around.FILLED_WORD * filled.stores + c.strip * len(tops)
    cycles += copied * around.ROW_FLIPPED.cycles(words)
    cycles += tiles * (first.cycles + c.pair + chunks * (product.cycles + last.cycles + c.chunk))
    return cycles, Promise(
        (loads(copied * words, 4),),
        last.accesses[1].times(tiles * chunks),
        (product.accesses[1] + last.accesses[2]).times(tiles * chunks),
        scratch,
        first.stack.times(tiles) + (product.stack + last.stack).times(tiles * chunks),
    )


def _code(layer: Conv, kernels: Kernels, outputs: int) -> tuple[Node, ...]:
    """What so many output channels execute: strips, pairs of tiles in them, chunks of the channels for each."""
    first, product, last = kernels
    depth, (height, width, _) = layer.shape.channels, layer.output
    call, chunk = around.piece(around.CALL), product.chunk
    chunks = Loop((call, product.call(), call, last.call()), outputs // chunk, 18 * depth * chunk)
    words = layer.shape.width * depth // 4
    return (
        around.fill_words(6 * first.pitch // 4),
        Loop(
            (
                Loop((around.piece(around.ROW), around.copy_flipped(words)), 6),
                Loop((call, first.call(), chunks, Loop((), 1, -18 * depth * outputs)), -(-width // 8)),
            ),
            -(-height // 4),
        ),
    )


@lru_cache(maxsize=256)
def _proven(layer: Conv) -> Proven | None:
    return cleared.prove_multiply_add(layer.requantization, layer.range, SCALE)


FAMILIES = (Winograd(),)
