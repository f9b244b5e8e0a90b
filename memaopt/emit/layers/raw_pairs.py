"""Convolution as a matrix product on raw bytes: two products for each SMLAD, nothing unpacked but by UXTB16.

A tile holds n output positions' patches, even bytes as u = x + 128 (unsigned) and odd ones as x (signed). A word of
four is the halfwords R = 256 x1 + u0, and UXTB16 gives E = u0. With weights laid out offline as A = w1 and
B = 256 w0 - w1,

    SMLAD(R, A) + SMLAD(E, B) = 256 (w0 u0 + w1 x1),

so the accumulator is 256 times the true one; the 128 of the even bytes and the input's zero point fold into the
bias. Two output channels by n = 3 positions fill the 13 registers besides SP, which addresses the tile.
Preconditions, checked offline: B fits 16 bits, 256 |acc| < 2^31 for every input, and the requantisation is proven.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from memaopt import fixedpoint
from memaopt.emit.layers import requantize, strips
from memaopt.emit.layers.describe import Conv, Layer
from memaopt.emit.layers.family import data_bytes, definitions, dimensions, pareto, plan_comment, unary
from memaopt.emit.layers.output import Output, channel_parameters
from memaopt.emit.layers.patches import Copy, Patch, flips, patch_copy, patch_of
from memaopt.emit.layers.render import Array, render
from memaopt.emit.layers.requantize import Proven
from memaopt.emit.layers.result import Access, Emitted, Format, Kernel, Plan, Promise, loads, stores
from memaopt.fixedpoint import Int64Array

SCALE = 256
_ROWS = 2  # output channels of a tile
_REACH = 4095  # of an immediate offset
_MOST_UNROLLED = 8  # words of a patch; so a loop stays below 1 KiB
_SLOTS = 24  # bytes of the stack before the tile


@dataclass(frozen=True)
class RawPairsKernel:
    """The assembly that layers share: 2 channels x n positions over a patch, m output channels.

    ``unroll`` words of a patch in a turn of the inner loop, or 0 for straight code, which is faster by up to a
    tenth but does not fit an instruction cache of 1 KiB.
    """

    n: int
    m: int
    unroll: int
    patch: Patch
    advance: int
    aligned: bool
    output: Output
    input_format: Format
    output_format: Format

    @property
    def name(self) -> str:
        """A C identifier that tells kernels apart."""
        formats = ("_raw_in" if not flips(self.input_format) else "") + (
            "_raw_out" if self.output_format is Format.RAW else ""
        )
        return (
            f"raw_pairs_2x{self.n}_k{self.patch.slug}_a{self.advance}_m{self.m}_{self.output.slug}{formats}"
            f"{'' if self.aligned else '_unaligned'}{f'_by{self.unroll}' if self.unroll else ''}"
        )

    @property
    def blocks(self) -> int:
        """Steps of four bytes."""
        return self.patch.padded_bytes // 4

    @cached_property
    def copy(self) -> Copy:
        return patch_copy(self.patch, self.aligned, flips(self.input_format))

    @property
    def frame(self) -> int:
        """Stack bytes besides the nine registers pushed; the sum is a multiple of 8."""
        return _SLOTS + (self.n * self.patch.padded_bytes + 3) // 8 * 8 + 4

    @property
    def stack_bytes(self) -> int:
        return 36 + self.frame

    @cached_property
    def _chunks(self) -> tuple[list[dict[str, int]], int]:
        """Runs of blocks within an offset's reach of lr, and where the channel parameters then are."""
        if self.unroll:
            return [], 0
        chunks: list[dict[str, int]] = []
        done, w_at, advance = 1, 24, 0
        while True:
            blocks = min(self.blocks - done, (_REACH - w_at - 64) // 16)
            chunks.append({"blocks": blocks, "x_at": 4 * done, "w_at": w_at, "advance": advance})
            done += blocks
            if done == self.blocks:
                return chunks, w_at + 16 * blocks
            advance, w_at = w_at + 16 * blocks, 0

    @property
    def words(self) -> int:
        """Of parameters for a pair of channels: biases, weights, output parameters and the channel's number."""
        return 2 + self.patch.padded_bytes + 2 * self.output.words + 1

    @property
    def channel_tiles(self) -> int:
        return -(-self.m // _ROWS)

    @property
    def pair_cycles(self) -> int:
        """Two channels of one tile."""
        n, by_sign = self.n, self.output.by_sign
        if self.unroll:
            turn = (6 * n + 6) * self.unroll + 5
            block = 3 + 2 + 2 * (n - 1) + turn * self.blocks // self.unroll - 1
        else:
            block = (6 * n + 5) * self.blocks + 2 + len(self._chunks[0]) - 1
        parameters = 8 + (5 if by_sign else 0)
        return block + parameters + 2 * n * (self.output.cycles + 1) + 4

    @property
    def tile_cycles(self) -> int:
        """n positions, all channels."""
        gather = self.n * (self.copy.cycles + (7 if self.n > 1 else 3)) + 4
        return gather + self.channel_tiles * self.pair_cycles - 1 + 2 + 14 + self.n + 5

    @property
    def call_cycles(self) -> int:
        """Entry and exit."""
        return 10 + 7 + 1 + 8 + 1 + 12

    @property
    def code_bytes(self) -> int:
        """Of the kernel; its instructions are 4 bytes long."""
        return self.loop_bytes + 4 * (self.copy.instructions + 24 + self.n)

    @property
    def loop_bytes(self) -> int:
        """Of the loop over channels."""
        n = self.n
        block = (n + 4 + 5 * n) * (self.unroll or self.blocks)
        block += 8 + 2 * n if self.unroll else 1 + len(self._chunks[0])
        output = 8 + (3 if self.output.by_sign else 0) + 2 * n * (self.output.instructions + 1)
        return 4 * (block + output)

    def accesses(self, tiles: int) -> tuple[Access, Access, Access, Access]:
        """Source, output, parameters and stack of ``tiles`` tiles (without entry and exit)."""
        pairs, n = self.channel_tiles, self.n
        source = self.copy.source.times(n)
        output = stores(2 * n * pairs, 1)
        parameters = loads(self.words * pairs, 4)
        stack = self.copy.tile.times(n) + loads(n + 1 + pairs * (n * self.blocks + 1) + 6, 4) + stores(6, 4)
        return source.times(tiles), output.times(tiles), parameters.times(tiles), stack.times(tiles)

    def source(self) -> str:
        """The kernel's C text."""
        o = self.output
        chunks, after = self._chunks
        return render(
            "raw_pairs.c.j2",
            name=self.name,
            title=f"{_ROWS} channels x {self.n} positions over {self.patch.bytes} bytes a position, {self.m} channels.",
            comment=self._comment(),
            n=self.n,
            m=self.m,
            unroll=self.unroll,
            blocks=self.blocks,
            patch=self.patch,
            advance=self.advance,
            flip=flips(self.input_format),
            copy=self.copy.assembly,
            chunks=chunks,
            after=after,
            frame=self.frame,
            tile=_SLOTS,
            q=o,
            low=o.low,
            high=o.high,
            unsigned=self.output_format is Format.RAW,
        )

    def _comment(self) -> list[str]:
        per_mac = self.pair_cycles / (2 * self.n * self.patch.bytes)
        return [
            "The patches are copied to the stack, even bytes as u = x + 128; weights stream past once a tile. A word is",
            "the halfwords R = 256 x1 + u0, UXTB16 gives E = u0, weights are A = w1 and B = 256 w0 - w1, and",
            "SMLAD(R, A) + SMLAD(E, B) = 256 (w0 u0 + w1 x1).",
            f"Predicted at zero wait states: {self.tile_cycles:,} cycles a tile, {per_mac:.3f} a multiply-accumulate in"
            " the loop over channels.",
        ]


def weight_stream(layer: Conv, kernel: RawPairsKernel, proven: Proven) -> Int64Array:
    """The kernel's parameters in the order in which it reads them, as int32 words."""
    m, bytes_, padded = len(layer.weights), kernel.patch.bytes, kernel.patch.padded_bytes
    w = np.zeros((m, padded), np.int64)
    w[:, :bytes_] = layer.weights.reshape(m, bytes_)
    folded = layer.bias - layer.input_zero_point * w.sum(axis=1) - 128 * w[:, ::2].sum(axis=1)
    bias = fixedpoint.wrap_int32(SCALE * folded + proven.start)
    even, odd = w[:, ::2], w[:, 1::2]
    a, b = _halves(odd), _halves(256 * even - odd)

    # From the last pair down to channel 0, whose number ends the loop; of an odd m, channel 1 is computed twice.
    first = np.array([*range(m - _ROWS, -1, -_ROWS), *([0] if m % _ROWS else [])], np.int64)
    rows = np.stack([first, first + 1], axis=1)
    blocks = np.stack([a[rows[:, 0]], a[rows[:, 1]], b[rows[:, 0]], b[rows[:, 1]]], axis=2)
    if kernel.unroll:
        # Turns of the loop go from the last words to the first.
        blocks = blocks.reshape(len(first), -1, kernel.unroll, 4)[:, ::-1]
    return np.concatenate(
        [
            bias[rows],
            blocks.reshape(len(first), -1),
            channel_parameters(proven)[rows].reshape(len(first), -1),
            first[:, None],
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


class RawPairs:
    """CONV_2D of any window, stride, dilation and padding, without groups."""

    name = "raw pairs"
    computes = Conv

    def plans(self, layer: Layer) -> tuple[Plan, ...]:
        assert isinstance(layer, Conv)
        if layer.groups != 1 or len(layer.weights) < _ROWS or not fits(layer):
            return ()
        plans = [
            self._plan(layer, rows, looped, input_format, output_format)
            for rows in _strip_heights(layer)
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
        pitch = strips.strip_of(layer, rows).pitch if rows else layer.shape.width * channels
        patch = patch_of(layer, pitch)
        height, width = layer.output[:2]
        positions = (min(rows, height % rows or rows) if rows else height) * width
        n = min(3, positions, (_REACH - _SLOTS - 4) // patch.padded_bytes, (_REACH - 1) // m + 1)
        if n < 1:
            return None
        grid = strips.grid_of(layer, n, pitch)
        aligned = channels % 4 == 0
        output = Output.of(proven, layer.requantization)
        blocks = patch.padded_bytes // 4
        unroll = max(u for u in range(1, _MOST_UNROLLED + 1) if blocks % u == 0) if looped else 0
        if unroll == blocks:
            return None
        kernel = RawPairsKernel(n, m, unroll, patch, n * grid.step, aligned, output, input_format, output_format)
        return kernel, grid, proven

    def _plan(
        self, layer: Conv, rows: int, looped: bool, input_format: Format, output_format: Format
    ) -> Plan | None:
        chosen = self._kernel(layer, rows, looped, input_format, output_format)
        if chosen is None:
            return None
        kernel, grid, proven = chosen
        scratch_bytes, cycles = 0, 60
        if rows:
            strip = strips.strip_of(layer, rows)
            work = strips.strip_work(layer, strip)
            runs = [run for height in work.heights for run in grid.runs(height)]
            scratch_bytes, cycles = strip.bytes, cycles + work.cycles
        else:
            runs = grid.runs(grid.rows)
        source, output, parameters, _ = kernel.accesses(sum(runs))
        if rows:
            promise = Promise((work.input,), output, parameters, work.scratch + source)
        else:
            promise = Promise((source,), output, parameters)
        cycles += sum(runs) * kernel.tile_cycles + len(runs) * (kernel.call_cycles + 70)
        whole = kernel.channel_tiles * kernel.words * 4
        ascends = kernel.m <= grid.step and (grid.rows == 1 or grid.width * kernel.m <= grid.row_step)
        return Plan(
            family=self.name,
            tile=f"2x{kernel.n}{f' by {kernel.unroll}' if looped else ''}" + (f", strips of {rows}" if rows else ""),
            cycles=round(cycles),
            promise=promise,
            data_bytes=whole,
            code_bytes=kernel.code_bytes + 120,
            scratch_bytes=scratch_bytes,
            stack_bytes=kernel.stack_bytes + 120,
            kernels=(kernel.name,),
            shared_bytes=kernel.code_bytes,
            loop_bytes=kernel.loop_bytes,
            input_format=input_format,
            output_format=output_format,
            in_place=ascends and not rows and layer.output.positions % kernel.n == 0,
            alignment=4,
            requantization=proven.describe(),
            options=(("loop", int(looped)), ("strip", rows)),
        )

    def emit(self, layer: Layer, plan: Plan, name: str) -> Emitted:
        assert isinstance(layer, Conv)
        rows = plan.option("strip")
        chosen = self._kernel(layer, rows, bool(plan.option("loop")), plan.input_format, plan.output_format)
        assert chosen is not None
        kernel, grid, proven = chosen
        stream = weight_stream(layer, kernel, proven)
        arrays = [Array("int32_t", f"{name}_weights", stream, "two channels at a time: biases, weights, output stage")]
        assert data_bytes(arrays) == plan.data_bytes
        title = f"{name}: CONV_2D {dimensions(layer.shape)} -> {dimensions(layer.output)}, {layer.window.describe()}"
        source = render(
            "patch_layer.c.j2",
            head=plan_comment(title, plan),
            data=definitions(arrays),
            name=name,
            layer=layer,
            kernel=kernel.name,
            grid=grid,
            strip=strips.strip_of(layer, rows, plan.input_format) if rows else None,
        )
        return Emitted(name, unary(name), source, plan, (arrays[0].name,), (Kernel(kernel.name, kernel.source()),))


def _strip_heights(layer: Conv) -> tuple[int, ...]:
    """Rows of outputs in a strip: none where nothing is padded, else one, and the height that costs least."""
    if not strips.pads(layer):
        return (0,)
    height, width = layer.output.height, layer.output.width
    if width < 3:
        return (height,)
    return tuple(sorted({1, min(2, height), min(3, height), min(4, height)}))


@lru_cache(maxsize=256)
def _proven(layer: Conv, output_format: Format) -> Proven | None:
    even = np.arange(len(layer.weights)) % 2 == 0
    offset = np.where(even, 128, 0) if output_format is Format.RAW else None
    return requantize.prove_multiply_add(layer.requantization, layer.range, SCALE, offset)


FAMILIES = (RawPairs(),)
