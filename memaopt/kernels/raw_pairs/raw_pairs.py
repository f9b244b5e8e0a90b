"""Convolution as a matrix product on raw bytes: two products for each SMLAD, nothing unpacked but by UXTB16.

A tile holds n output positions' patches, even bytes as u = x + 128 (unsigned) and odd ones as x (signed). A word of
four is the halfwords R = 256 x1 + u0, and UXTB16 gives E = u0. With weights laid out offline as A = w1 and
B = 256 w0 - w1,

    SMLAD(R, A) + SMLAD(E, B) = 256 (w0 u0 + w1 x1),

so the accumulator is 256 times the true one; the 128 of the even bytes and the input's zero point fold into the
bias. Two output channels by n = 3 positions fill the 13 registers besides SP, which addresses the tile.
Preconditions, checked offline: B fits 16 bits, 256 |acc| < 2^31 for every input, and the requantisation is proven.
"""

from dataclasses import replace
from functools import lru_cache
from typing import Protocol

import numpy as np

from memaopt import fixedpoint
from memaopt.access import Access
from memaopt.alignment import align
from memaopt.fixedpoint import Int64Array
from memaopt.kernels import around, strips
from memaopt.kernels.code import Assembly, Call, Loop, Node
from memaopt.kernels.emitted import Emitted, emitted, unary
from memaopt.kernels.family import data_bytes, dimensions, pareto
from memaopt.kernels.patches import Patch, joined, patch_of
from memaopt.kernels.plan import Format, Plan, Promise
from memaopt.kernels.raw_pairs.kernel import ROWS, SLOTS, RawPairsKernel
from memaopt.kernels.rounding import cleared
from memaopt.kernels.rounding.output import Output, channel_parameters
from memaopt.kernels.rounding.requantize import Proven
from memaopt.kernels.staging import channels_of
from memaopt.kernels.text.c import Array, words_bytes
from memaopt.kernels.text.thumb import REACH
from memaopt.problems.content import interned
from memaopt.problems.layers import Conv

SCALE = 256
_MOST_UNROLLED = 8  # words of a patch; so a loop stays below 1 KiB
_PARTS, _LEAST_PART = (2, 4), 4  # of a row of outputs, and how many make a part
LAYER_CYCLES = 60  # of a layer's entry and exit, fitted to counts of layers on the virtual board (GCC 12.2 -O3)


def weight_stream(layer: Conv, kernel: RawPairsKernel, proven: Proven) -> Int64Array:
    """The kernel's parameters in the order in which it reads them, as int32 words."""
    m, bytes_, padded = len(layer.weights), kernel.patch.bytes, kernel.patch.padded_bytes
    w = np.zeros((m, padded), np.int64)
    w[:, :bytes_] = layer.weights.reshape(m, bytes_)
    folded = layer.bias - layer.input_zero_point * w.sum(axis=1) - 128 * w[:, ::2].sum(axis=1)
    bias = fixedpoint.wrap_int32(SCALE * folded + proven.start)
    even, odd = w[:, ::2], w[:, 1::2]
    a, b = _halves(odd), _halves(256 * even - odd)

    # From the last pair down to channel 0, whose number ends the loop; of an odd m, one channel is computed twice.
    first = np.array([*range(m - ROWS, -1, -ROWS), *([0] if m % ROWS else [])], np.int64)
    rows = np.minimum(np.stack([first, first + 1], axis=1), m - 1)
    blocks = np.stack([a[rows[:, 0]], a[rows[:, 1]], b[rows[:, 0]], b[rows[:, 1]]], axis=2)
    if kernel.unroll:
        # Turns of the loop go from the last words to the first.
        blocks = blocks.reshape(len(first), -1, kernel.unroll, 4)[:, ::-1]
    return np.concatenate(
        [
            bias[rows],
            blocks.reshape(len(first), -1),
            channel_parameters(proven)[rows].reshape(len(first), -1),
            kernel.channel_step * first[:, None],
        ],
        axis=1,
    )


def _halves(pairs: Int64Array) -> Int64Array:
    """Neighbouring values of the last axis as the low and the high halfword of a signed word."""
    return fixedpoint.wrap_int32((pairs[:, ::2] & 0xFFFF) | (pairs[:, 1::2] << 16))


def fits(layer: Conv) -> bool:
    """Whether 256 w0 - w1 fits 16 bits for every pair of weights."""
    w = layer.weights.reshape(len(layer.weights), -1)
    even = w[:, ::2].astype(np.int64)
    odd = np.zeros_like(even)
    odd[:, : w.shape[1] // 2] = w[:, 1::2]
    b = 256 * even - odd
    return bool(b.min() >= -(1 << 15) and b.max() < 1 << 15)


def unroll_of(patch: Patch, looped: bool) -> int | None:
    """Words of a patch in a turn of the kernel's loop, 0 for straight code; None where a loop would turn once."""
    if not looped:
        return 0
    blocks = patch.padded_bytes // 4
    unroll = max(u for u in range(1, _MOST_UNROLLED + 1) if blocks % u == 0)
    return None if unroll == blocks else unroll


#: Code that moves the rows that strips share (GCC 12.2 at -O3).
_SLIDE_CODE = 40


class RawPairs:
    """CONV_2D of any window, stride, dilation and padding, without groups or with two or three of one channel."""

    name = "raw pairs"
    computes = Conv

    def plans(self, layer: Conv) -> tuple[Plan, ...]:
        layer = joined(layer, ROWS)
        if layer.groups != 1 or not fits(layer):
            return ()
        plans = [
            self._plan(layer, rows, looped, input_format, output_format)
            for rows in strip_heights(layer)
            for looped in (False, True)
            for input_format in ((Format.S8, Format.RAW) if layer.shape.channels % 2 == 0 else (Format.S8,))
            for output_format in ((Format.S8, Format.RAW) if len(layer.weights) % 2 == 0 else (Format.S8,))
        ]
        return pareto(plan for plan in plans if plan is not None)

    def _kernel(
        self, layer: Conv, rows: int, looped: bool, input_format: Format, output_format: Format
    ) -> tuple[RawPairsKernel, strips.Grid, Proven] | None:
        """``rows`` is the height of a strip, 0 if there is none."""
        m, channels = len(layer.weights), layer.shape.channels
        proven = _proven(layer, output_format)
        if proven is None:
            return None
        pitch, start = strips.pitch_and_start(layer, rows)
        patch = patch_of(layer, pitch, start)
        height, width = layer.output[:2]
        positions = (min(rows, height % rows or rows) if rows else height) * width
        n = min(3, positions, (REACH - SLOTS - 4) // patch.padded_bytes, (REACH - 1) // m + 1)
        if n < 1:
            return None
        grid = strips.grid_of(layer, n, pitch, rows > 0)
        aligned = channels % 4 == 0
        output = Output.of(proven, layer.requantization)
        unroll = unroll_of(patch, looped)
        if unroll is None:
            return None
        kernel = RawPairsKernel(n, m, unroll, patch, n * grid.step, aligned, output, input_format, output_format)
        return interned(kernel), grid, proven

    def _plan(self, layer: Conv, rows: int, looped: bool, input_format: Format, output_format: Format) -> Plan | None:
        chosen = self._kernel(layer, rows, looped, input_format, output_format)
        if chosen is None:
            return None
        kernel, grid, proven = chosen
        return replace(
            patch_plan(self.name, layer, kernel, grid, rows, proven),
            input_format=input_format,
            output_format=output_format,
            options=(("loop", int(looped)), ("strip", rows)),
        )

    def emit(self, layer: Conv, plan: Plan, name: str) -> Emitted:
        layer = joined(layer, ROWS)
        rows = plan.option("strip")
        chosen = self._kernel(layer, rows, bool(plan.option("loop")), plan.input_format, plan.output_format)
        assert chosen is not None
        kernel, grid, proven = chosen
        stream = weight_stream(layer, kernel, proven)
        comment = "two channels at a time: biases, weights, output stage"
        return emitted_patches(layer, plan, name, kernel, grid, stream, comment)


class PatchKernel(Assembly, Protocol):
    """What computes tiles of patches, of ``words`` of constants for each of its tiles of channels."""

    @property
    def n(self) -> int: ...

    @property
    def tile(self) -> str: ...

    @property
    def words(self) -> int: ...

    @property
    def channel_tiles(self) -> int: ...

    @property
    def tile_cycles(self) -> float: ...

    @property
    def call_cycles(self) -> float: ...

    @property
    def code_bytes(self) -> int: ...

    @property
    def stack_bytes(self) -> int: ...

    def accesses(self, tiles: int, calls: int) -> tuple[Access, Access, Access, Access]: ...

    def call(self, tiles: float) -> Call: ...


def patch_plan(
    family: str,
    layer: Conv,
    kernel: PatchKernel,
    grid: strips.Grid,
    rows: int,
    proven: Proven,
    group_words: int = 0,
    parts: int = 1,
) -> Plan:
    """A convolution by a kernel that computes tiles of patches, in strips of so many rows (in ``parts`` of one), or (0)
    from the input itself.

    ``group_words`` as in :func:`emitted_patches`.
    """
    scratch_bytes, cycles = 0, float(LAYER_CYCLES)
    if rows:
        strip = strips.strip_in(layer, rows, parts)
        work = strips.strip_work(layer, strip)
        runs = [run for height in work.heights for run in grid.runs(height)]
        scratch_bytes, cycles = strip.bytes, cycles + work.cycles
    else:
        runs = grid.runs(grid.rows)
    runs *= layer.groups
    source, output, parameters, stack = kernel.accesses(sum(runs), len(runs))
    if rows:
        promise = Promise((work.input,), output, parameters, work.scratch + source, stack)
    else:
        promise = Promise((source,), output, parameters, stack=stack)
    cycles += sum(runs) * kernel.tile_cycles + len(runs) * (kernel.call_cycles + around.run_cycles(kernel.n))
    cycles += (layer.groups - 1) * (len(work.heights) if rows else 1) * around.GROUP_CYCLES
    frame = around.tiles_frame(rows > 0, layer.groups)
    return Plan(
        family=family,
        tile=kernel.tile + (f", strips of {f'1/{parts}' if parts > 1 else rows}" if rows else ""),
        cycles=round(cycles),
        promise=promise,
        data_bytes=words_bytes(layer.groups * kernel.channel_tiles * kernel.words),
        code_bytes=kernel.code_bytes + frame.code,
        scratch_bytes=scratch_bytes,
        stack_bytes=kernel.stack_bytes + frame.stack,
        kernels=(kernel.name,),
        shared_bytes=kernel.code_bytes,
        code=tiles_code(layer, kernel.call(sum(runs) / len(runs)), kernel.n, rows, len(runs), group_words, parts),
        lead=_lead(layer, grid, rows, parts),
        alignment=4,
        requantization=proven.describe(),
        options=(("strip", rows),),
    )


def slid(layer: Conv, plan: Plan) -> Plan | None:
    """The plan that streams with strips that slide; None where they share no rows, or there is one strip,
    or one for each part of a row."""
    rows = dict(plan.options).get("strip", 0)
    if not rows or rows >= layer.output.height or "parts" in dict(plan.options):
        return None
    strip = strips.strip_of(layer, rows)
    if not strip.shared:
        return None
    once, again = (strips.strip_work(layer, strip, slides=slides) for slides in (True, False))
    promise, rest = plan.promise, plan.promise.scratch.less(again.scratch)
    return replace(
        plan,
        tile=plan.tile.replace("strips of", "sliding strips of"),
        cycles=plan.cycles + once.cycles - again.cycles,
        promise=promise._replace(inputs=(once.input,), scratch=rest + once.scratch),
        code_bytes=plan.code_bytes + _SLIDE_CODE,
        options=(*plan.options, ("slides", 1)),
    )


def _lead(layer: Conv, grid: strips.Grid, rows: int, parts: int) -> int | None:
    """None if a later group reads the input again while there are outputs."""
    if rows:
        return strips.strip_lead(layer, strips.strip_in(layer, rows, parts))
    return strips.tiles_lead(layer, grid) if layer.groups == 1 else None


def emitted_patches(
    layer: Conv,
    plan: Plan,
    name: str,
    kernel: Assembly,
    grid: strips.Grid,
    stream: Int64Array,
    comment: str,
    group_words: int = 0,
    title: str = "",
) -> Emitted:
    """A convolution by a kernel that computes tiles of patches: its constants, strips, a call for each run of tiles.

    ``group_words``: constants of each of the layer's groups. ``title``: what it is called, if not as it is.
    """
    arrays = [Array("int32_t", f"{name}_weights", stream, comment).in_lines()]
    assert plan.block or data_bytes(arrays) == plan.kernel_bytes
    rows = plan.option("strip")
    parts = dict(plan.options).get("parts", 1)
    return emitted(
        unary(name),
        plan,
        title or f"CONV_2D {dimensions(layer.shape)} -> {dimensions(layer.output)}, {layer.window.describe()}",
        "kernels/raw_pairs/patch_layer.c.j2",
        arrays=arrays,
        kernels=(kernel,),
        layer=layer,
        kernel=kernel.name,
        grid=grid,
        groups=layer.groups,
        group_words=group_words,
        block=plan.block,
        dma=plan.dma,
        first=dict(plan.options).get("first", 0),
        packing=plan.packings[0] if plan.packed else None,
        channels_of=channels_of,
        staged=align(plan.kernel_scratch, 4) // 4,
        strip=strips.strip_in(layer, rows, parts, plan.input_format) if rows else None,
        slides=plan.slides,
    )


def tiles_code(
    layer: Conv, call: Call, positions: int, rows: int, runs: int, group_words: int = 0, parts: int = 1
) -> tuple[Node, ...]:
    """What one call executes: for each strip, if any, its rows' copies; then the kernel for each run of tiles of so
    many positions, for each group with constants of its own.
    """
    count, groups = -(-layer.output.height // rows) * parts if rows else 1, layer.groups
    tiles = around.run_tiles(runs / (count * groups), call, positions)
    if groups > 1:
        tiles = (Loop((around.piece(around.GROUP), *tiles), groups, group_words),)
    if not rows:
        return (*around.entry(), *tiles)
    strip = strips.strip_in(layer, rows, parts)
    body = (strips.filling(layer, strip, count), *tiles)
    again = -groups * group_words
    if parts > 1:
        return (*around.entry(), Loop((around.fill_words(strip.bytes // 4), *body), count, again))
    return (*around.entry(), around.fill_words(strip.bytes // 4), Loop(body, count, again))


def strip_heights(layer: Conv) -> tuple[int, ...]:
    """Rows of outputs in a strip: none where nothing is padded, else one, and the height that costs least."""
    if not strips.pads(layer):
        return (0,)
    height, width = layer.output.height, layer.output.width
    if width < 3:
        return (height,)
    return tuple(sorted({1, min(2, height), min(3, height), min(4, height)}))


def strip_parts(layer: Conv) -> tuple[int, ...]:
    """Equal parts of a row that a strip may be of instead."""
    width = layer.output.width
    return tuple(
        parts for parts in _PARTS if strips.pads(layer) and width % parts == 0 and width // parts >= _LEAST_PART
    )


@lru_cache(maxsize=256)
def _proven(layer: Conv, output_format: Format) -> Proven | None:
    even = np.arange(len(layer.weights)) % 2 == 0
    offset = np.where(even, 128, 0) if output_format is Format.RAW else None
    return cleared.prove_multiply_add(layer.requantization, layer.range, SCALE, offset)


@lru_cache(maxsize=256)
def proven_unsigned(layer: Conv) -> Proven | None:
    """The requantisation whose outputs are x + 128 in all channels, None if not found."""
    return cleared.prove_multiply_add(layer.requantization, layer.range, SCALE, np.full(len(layer.weights), 128))


FAMILIES = (RawPairs(),)
