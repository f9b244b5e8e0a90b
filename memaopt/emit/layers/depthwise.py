"""DEPTHWISE_CONV_2D on int16 planes.

The planes hold x - zero point, with zeros around them where the window reaches beyond the image, so nothing is
unpacked and padding needs no tests. Weights are 256 w, so the accumulator is 256 times the true one.

- 3x3 (family "depthwise walk"): the walk goes down a column with its nine weights in registers. A row of taps is
  SMLAD and SMLABx where the column starts a word, SMLATx and SMLAD where it starts in the middle of one. The
  bias and the rounding constant are in the initial accumulator, so SMMUL needs no addend and 13 registers do.
- any window (family "depthwise taps"): up to four rows of a column at a time; each word of weights, shifted by one
  element for odd columns, meets a word of each row.

Preconditions, checked offline: 256 |acc| < 2^31 for every input, and the requantisation is proven.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np

from memaopt import fixedpoint
from memaopt.emit.layers import requantize
from memaopt.emit.layers.describe import Depthwise, Layer
from memaopt.emit.layers.family import definitions, dimensions, pareto, plan_comment, unary
from memaopt.emit.layers.output import Output, channel_parameters
from memaopt.emit.layers.planes import Gather, Plane, groups
from memaopt.emit.layers.render import Array, render
from memaopt.emit.layers.requantize import Proven
from memaopt.emit.layers.result import Access, Emitted, Format, Kernel, Plan, Promise, loads, stores
from memaopt.emit.layers.walks import Column, Step, Walk, walk_of
from memaopt.fixedpoint import Int64Array

SCALE = 256
_REACH = 4095


class ColumnSet(NamedTuple):
    """Columns whose first tap is at equal places of their words: bytes of plane and output, and their steps."""

    odd: bool
    columns: int
    x: int
    y: int
    x_step: int
    y_step: int


class Geometry(NamedTuple):
    """Planes of ``band`` rows of outputs (all of them if it equals their number), and their columns."""

    plane: Plane
    sets: tuple[ColumnSet, ...]
    band: int

    @property
    def is_banded(self) -> bool:
        """Whether the planes include the rows of zeros above and below."""
        return self.plane.above > 0 or self.band > 0


def geometry(layer: Depthwise, band: int, zero_rows: bool) -> Geometry:
    """``band`` rows of outputs at a time; without ``zero_rows`` (and with one band) planes hold the image alone."""
    window, output = layer.window, layer.output
    left = (window.padding.left + 1) // 2 * 2
    first = left - window.padding.left
    span = (window.kernel.width - 1) * window.dilation.width + 1
    # Whole words: an odd column's taps start in the middle of one.
    last = first + (output.width - 1) * window.stride.width + span
    columns = max(-(-(last + 1) // 2) * 2, -(-(left + layer.shape.width) // 2) * 2)
    reach = (window.kernel.height - 1) * window.dilation.height + 1
    rows = (band - 1) * window.stride.height + reach if zero_rows else layer.shape.height
    step = window.stride.width
    sets = []
    for start in range(1 if step % 2 == 0 else 2):
        count = output.width if step % 2 == 0 else (output.width - start + 1) // 2
        at = first + start * step
        skip = 1 if step % 2 == 0 else 2
        if count:
            sets.append(
                ColumnSet(
                    at % 2 == 1, count, at // 2 * 4, start * output.channels, 2 * step * skip, skip * output.channels
                )
            )
    return Geometry(Plane(rows, 2 * columns, left, 0), tuple(sets), band if zero_rows else 0)


@dataclass(frozen=True)
class WalkKernel:
    """3x3 over planes; the columns' code is straight, or has a loop of ``unroll`` outputs."""

    geometry: Geometry
    column: Column
    unroll: int
    output: Output

    @property
    def name(self) -> str:
        c, g = self.column, self.geometry
        loop = f"_u{self.unroll}" if self.walk.turns else ""
        columns = "_".join(f"{'odd' if s.odd else 'even'}{s.columns}" for s in g.sets)
        return (
            f"depthwise_walk_{c.outputs}of{c.rows}x{c.pitch // 2}_s{c.stride}_a{c.above}_{columns}"
            f"_o{c.out_pitch}x{g.sets[0].y_step}_{self.output.slug}{loop}"
        )

    @cached_property
    def walk(self) -> Walk:
        walk = walk_of(self.column, self.unroll)
        assert walk is not None
        return walk

    words_first = 7
    words_next = 5

    @property
    def words(self) -> int:
        """Parameters of a channel."""
        return self.words_first + self.words_next * (len(self.geometry.sets) - 1)

    def _step_cycles(self, step: Step) -> int:
        done = sum(tap.y is not None for tap in step.taps)
        moves = (step.x_advance > 0) + (step.y_advance > 0)
        # A load right after the last store waits a cycle and is not pipelined; so does one after its pointer moved.
        after = 1 if step.taps[-1].y is not None and not moves else 1 if step.x_advance and not step.y_advance else 0
        return 3 + 2 * len(step.taps) + done * (self.output.cycles + 1) + moves + after

    def cycles(self, channels: int) -> int:
        """One call."""
        walk, sets = self.walk, self.geometry.sets
        column = sum(map(self._step_cycles, walk.steps)) + 5 + (walk.turns * 3 if walk.turns else 0)
        if walk.turns:
            column += 1 + 5
        channel = sum(s.columns * column + 15 for s in sets) + 13
        return 32 + channels * channel

    def _bytes(self, steps: Sequence[Step]) -> int:
        done = sum(tap.y is not None for step in steps for tap in step.taps)
        taps = sum(len(step.taps) for step in steps)
        return 4 * (2 * len(steps) + 2 * taps + done * (self.output.instructions + 1))

    @property
    def code_bytes(self) -> int:
        return len(self.geometry.sets) * (self._bytes(self.walk.code) + 56) + 72

    @property
    def loop_bytes(self) -> int:
        """Of the loop over rows, or over columns where there is none."""
        return self._bytes(self.walk.turn or self.walk.code) + 20

    def accesses(self, channels: int) -> tuple[Access, Access, Access]:
        """Planes, output and parameters of one call."""
        columns = sum(s.columns for s in self.geometry.sets) * channels
        return (
            loads(2 * len(self.walk.steps) * columns, 4),
            stores(self.column.outputs * columns, 1),
            loads(self.words * channels, 4),
        )

    def kernel(self) -> Kernel:
        """The kernel's C text."""
        c = self.column
        source = render(
            "depthwise_walk.c.j2",
            name=self.name,
            title=f"Depthwise 3x3, stride {c.stride}: {c.outputs} rows of outputs, column by column.",
            comment=[
                "A row of a column costs two loads and two multiplies for each output that it feeds; nine weights",
                "(times 256) are in registers. Parameters of a channel: pairs of weights, weights alone, multiplier,",
                "initial accumulator; then the weights as columns of the other parity need them.",
            ],
            walk=self.walk,
            sets=self.geometry.sets,
            plane=self.geometry.plane,
            q=self.output,
            outputs=c.outputs,
            stride=c.stride,
            above=c.above,
            out_pitch=c.out_pitch,
        )
        return Kernel(self.name, source)


@dataclass(frozen=True)
class TapsKernel:
    """Any window over planes with their rows of zeros, ``t`` rows of outputs of a column at a time."""

    geometry: Geometry
    t: int
    rows: int
    words_a_row: int
    stride: int
    dilation: int
    out_pitch: int
    output: Output

    @property
    def name(self) -> str:
        g = self.geometry
        columns = "_".join(f"{'odd' if s.odd else 'even'}{s.columns}" for s in g.sets)
        return (
            f"depthwise_taps_{self.rows}x{2 * self.words_a_row}_d{self.dilation}_s{self.stride}"
            f"x{g.sets[0].x_step // 2}_{g.band}x{g.plane.pitch // 2}_{columns}_o{self.out_pitch}x{g.sets[0].y_step}"
            f"_{self.output.slug}"
        )

    @property
    def tiles(self) -> int:
        """Tiles of a column."""
        return -(-self.geometry.band // self.t)

    @property
    def overlap(self) -> int:
        """Rows that the last tile computes again."""
        return self.tiles * self.t - self.geometry.band

    @property
    def words(self) -> int:
        """Parameters of a channel: initial accumulator, output stage, weights for each set of columns."""
        return 1 + self.output.words + len(self.geometry.sets) * self.rows * self.words_a_row

    def cycles(self, channels: int) -> int:
        """One call."""
        tile = (
            4 + (self.t - 1) + self.rows * self.words_a_row * (2 + 2 * self.t)
            + 1 + self.output.words + self.t * (self.output.cycles + 1) + 5 + (4 if self.overlap else 0)
        )  # fmt: skip
        column = self.tiles * tile + 11
        channel = sum(s.columns * column + 9 for s in self.geometry.sets) + 20
        return 34 + channels * channel

    @property
    def code_bytes(self) -> int:
        return len(self.geometry.sets) * (self.loop_bytes + 56) + 64

    @property
    def loop_bytes(self) -> int:
        """Of the loop over tiles."""
        taps = self.rows * self.words_a_row * (1 + 2 * self.t)
        return 4 * (2 + self.t + taps + self.t * (self.output.instructions + 1) + 8)

    def accesses(self, channels: int) -> tuple[Access, Access, Access]:
        """Planes, output and parameters of one call."""
        tiles = sum(s.columns for s in self.geometry.sets) * channels * self.tiles
        taps = self.rows * self.words_a_row
        return (
            loads(taps * self.t * tiles, 4),
            stores(self.t * tiles, 1),
            loads((1 + taps + self.output.words) * tiles, 4),
        )

    def kernel(self) -> Kernel:
        """The kernel's C text."""
        source = render(
            "depthwise_taps.c.j2",
            name=self.name,
            title=f"Depthwise, {self.rows} x {self.words_a_row} words of taps, {self.t} outputs of a column at once.",
            comment=[
                "Parameters of a channel: initial accumulator, output stage, then weights (times 256) in pairs, as",
                "columns that start a word need them and, shifted by one, as the others do.",
            ],
            t=self.t,
            rows=self.rows,
            words=self.words_a_row,
            stride=self.stride,
            dilation=self.dilation,
            out_pitch=self.out_pitch,
            plane=self.geometry.plane,
            sets=self.geometry.sets,
            tiles=self.tiles,
            overlap=self.overlap,
            outputs=self.geometry.band,
            q=self.output,
        )
        return Kernel(self.name, source)


class _Chosen(NamedTuple):
    """A kernel, its parameters [channels, words] and what was proven."""

    kernel: WalkKernel | TapsKernel
    parameters: Int64Array
    proven: str


class _Depthwise:
    """What both families share: groups of planes, bands, the layer's function."""

    name: str
    computes = Depthwise

    def _choose(self, layer: Depthwise, options: dict[str, int]) -> _Chosen | None:
        raise AssertionError

    def _options(self, layer: Depthwise) -> list[dict[str, int]]:
        raise AssertionError

    def plans(self, layer: Layer) -> tuple[Plan, ...]:
        assert isinstance(layer, Depthwise)
        plans = [self._plan(layer, options) for options in self._options(layer)]
        return pareto(plan for plan in plans if plan is not None)

    def _gather(self, layer: Depthwise, size: int, plane: Plane, input_format: Format) -> Gather:
        return Gather(size, layer.shape.channels, layer.shape.width, layer.input_zero_point, plane, input_format)

    def _plan(self, layer: Depthwise, options: dict[str, int]) -> Plan | None:
        chosen = self._choose(layer, options)
        if chosen is None:
            return None
        kernel, parameters, proven = chosen
        plane, band = kernel.geometry.plane, kernel.geometry.band
        input_format = Format.RAW if options["raw"] else Format.S8
        scratch_bytes = plane.bytes * min(options["group"], layer.shape.channels)
        source, planes, output, read = Access(), stores(scratch_bytes // 4, 4), Access(), Access()
        cycles = 40 + 1.8 * scratch_bytes / 4
        for size, count in groups(layer.shape.channels, options["group"]):
            gather = self._gather(layer, size, plane, input_format)
            calls = size if layer.multiplier > 1 else 1
            channels = layer.multiplier if layer.multiplier > 1 else size
            for rows, zeros in _bands(layer, plane, band):
                image, filled = gather.accesses(rows)
                taps, stored, parameter = kernel.accesses(channels)
                source += image.times(count)
                zeroed = stores(zeros * size * plane.pitch // 4, 4)
                planes += (filled + zeroed + taps.times(calls)).times(count)
                output, read = output + stored.times(count * calls), read + parameter.times(count * calls)
                fill = size * (2 * 28 + 1.8 * zeros * plane.pitch / 4) + 30 if band else 0
                cycles += count * (gather.cycles(rows) + calls * (kernel.cycles(channels) + 10) + fill + 12)
        sizes = [size for size, _ in groups(layer.shape.channels, options["group"])]
        gathers = {self._gather(layer, size, plane, input_format) for size in sizes}
        shared = kernel.code_bytes + sum(g.code_bytes for g in gathers)
        same = layer.multiplier == 1 and layer.output == layer.shape and not band
        tile = f"{options['group']} channels" + (f", bands of {band}" if band else "")
        if isinstance(kernel, WalkKernel) and kernel.walk.turns:
            tile += f", loop of {kernel.unroll}"
        return Plan(
            family=self.name,
            tile=tile,
            cycles=round(cycles),
            promise=Promise((source,), output, read, planes),
            data_bytes=4 * parameters.size,
            code_bytes=shared + 160,
            scratch_bytes=scratch_bytes,
            stack_bytes=72 + 64,
            kernels=(kernel.name, *sorted(g.name for g in gathers)),
            shared_bytes=shared,
            loop_bytes=kernel.loop_bytes,
            input_format=input_format,
            in_place=same,
            alignment=4,
            requantization=proven,
            options=tuple(sorted(options.items())),
        )

    def emit(self, layer: Layer, plan: Plan, name: str) -> Emitted:
        assert isinstance(layer, Depthwise)
        options = dict(plan.options)
        chosen = self._choose(layer, options)
        assert chosen is not None
        kernel, parameters, _ = chosen
        plane, band = kernel.geometry.plane, kernel.geometry.band
        split = groups(layer.shape.channels, options["group"])
        gathers = [self._gather(layer, size, plane, plan.input_format) for size, _ in split]
        comment = "parameters of each channel, as the kernel reads them"
        arrays = [Array("int32_t", f"{name}_weights", parameters, comment)]
        shapes = f"{dimensions(layer.shape)} -> {dimensions(layer.output)}"
        source = render(
            "depthwise_layer.c.j2",
            head=plan_comment(f"{name}: DEPTHWISE_CONV_2D {shapes}, {layer.window.describe()}", plan),
            data=definitions(arrays),
            name=name,
            layer=layer,
            kernel=kernel.name,
            plane=plane,
            band={"rows": band} if band else None,
            stride=layer.window.stride.height,
            words=kernel.words,
            scratch_bytes=plan.scratch_bytes,
            groups=[
                {"size": size, "count": count, "gather": gather.name}
                for (size, count), gather in zip(split, gathers, strict=True)
            ],
        )
        kernels = (*(gather.kernel() for gather in gathers), kernel.kernel())
        return Emitted(name, unary(name), source, plan, (arrays[0].name,), kernels)


def _bands(layer: Depthwise, plane: Plane, band: int) -> list[tuple[int, int]]:
    """(rows gathered, rows of zeros) of each band; without bands, the whole image."""
    if not band:
        return [(layer.shape.height, 0)]
    bands = []
    for y in range(0, layer.output.height, band):
        top = min(y, layer.output.height - band) * layer.window.stride.height - layer.window.padding.top
        above, below = max(-top, 0), max(top + plane.rows - layer.shape.height, 0)
        bands.append((plane.rows - above - below, above + below))
    return bands


def _pairs(low: Int64Array, high: Int64Array) -> Int64Array:
    return fixedpoint.wrap_int32((low & 0xFFFF) | (high << 16))


class DepthwiseWalk(_Depthwise):
    """3x3 without dilation."""

    name = "depthwise walk"

    def _options(self, layer: Depthwise) -> list[dict[str, int]]:
        if layer.window.kernel != (3, 3) or layer.window.dilation != (1, 1):
            return []
        height = layer.output.height
        bands = sorted({b for b in (0, 16, 8) if b < height})
        most = [g for g in (4, 2) if g <= layer.shape.channels] or [1]
        unrolls = [0] if height <= 12 else [0, 8]
        formats = (0, 1) if layer.shape.channels % 2 == 0 else (0,)
        return [
            {"band": band, "group": group, "unroll": unroll, "raw": raw}
            for band in bands for group in most for unroll in unrolls for raw in formats
        ]  # fmt: skip

    def _choose(self, layer: Depthwise, options: dict[str, int]) -> _Chosen | None:
        proven = _proven_multiply(layer)
        if proven is None:
            return None
        band, window = options["band"], layer.window
        shape = geometry(layer, band, zero_rows=bool(band))
        column = Column(
            rows=shape.plane.rows,
            above=0 if band else window.padding.top,
            stride=window.stride.height,
            outputs=band or layer.output.height,
            pitch=shape.plane.pitch,
            out_pitch=layer.output.width * layer.output.channels,
        )
        if walk_of(column, options["unroll"]) is None:
            return None
        output = Output.of(proven, layer.requantization)
        kernel = WalkKernel(shape, column, options["unroll"], output)
        if not kernel.walk.turns:
            kernel = replace(kernel, unroll=0)
        w = SCALE * layer.weights.astype(np.int64).transpose(2, 0, 1)
        w[proven.constant] = 0
        start = np.where(proven.constant, 0, SCALE * layer.bias) + proven.start
        blocks = []
        for number, columns in enumerate(shape.sets):
            pair = _pairs(w[..., 1], w[..., 2]) if columns.odd else _pairs(w[..., 0], w[..., 1])
            alone = w[..., 0] if columns.odd else w[..., 2]
            alone = np.concatenate([alone, np.zeros_like(alone[:, :1])], axis=1)
            blocks += [pair, _pairs(alone[:, ::2], alone[:, 1::2])]
            if number == 0:
                blocks += [proven.multiplier[:, None], start[:, None]]
        return _Chosen(kernel, np.concatenate(blocks, axis=1), proven.describe())


class DepthwiseTaps(_Depthwise):
    """Any window, stride and dilation."""

    name = "depthwise taps"

    def _options(self, layer: Depthwise) -> list[dict[str, int]]:
        height = layer.output.height
        bands = sorted({b for b in (height, 16, 8) if b <= height})
        most = [g for g in (4, 2) if g <= layer.shape.channels] or [1]
        formats = (0, 1) if layer.shape.channels % 2 == 0 else (0,)
        return [
            {"band": band, "group": group, "raw": raw} for band in bands for group in most for raw in formats
        ]  # fmt: skip

    def _choose(self, layer: Depthwise, options: dict[str, int]) -> _Chosen | None:
        proven = _proven_multiply_add(layer)
        if proven is None:
            return None
        window = layer.window
        shape = geometry(layer, options["band"], zero_rows=True)
        taps = _taps(layer, shape)
        out_pitch = layer.output.width * layer.output.channels
        rows, words = window.kernel.height, taps.shape[-1]
        t = min(4, options["band"])
        while t and max(
            (t - 1) * out_pitch,
            ((t - 1) * window.stride.height + (rows - 1) * window.dilation.height) * shape.plane.pitch + 4 * words,
            4 * (5 + 2 * rows * words),
        ) > _REACH:  # fmt: skip
            t -= 1
        if t == 0:
            return None
        output = Output.of(proven, layer.requantization)
        kernel = TapsKernel(
            shape, t, rows, words, window.stride.height, window.dilation.height, out_pitch, output
        )
        channels = len(layer.bias)
        start = fixedpoint.wrap_int32(SCALE * layer.bias + proven.start)
        blocks = [start[:, None], channel_parameters(proven), taps.reshape(channels, -1)]
        return _Chosen(kernel, np.concatenate(blocks, axis=1), proven.describe())


def _taps(layer: Depthwise, shape: Geometry) -> Int64Array:
    """Weights in pairs, [channels, sets, rows, words]: spread by the dilation, shifted by one for odd columns."""
    window = layer.window
    height, width = window.kernel
    span = (width - 1) * window.dilation.width + 1
    odd = any(s.odd for s in shape.sets)
    words = -(-(span + odd) // 2)
    spread = np.zeros((layer.output.channels, len(shape.sets), height, 2 * words), np.int64)
    w = SCALE * layer.weights.astype(np.int64).transpose(2, 0, 1)
    for number, columns in enumerate(shape.sets):
        spread[:, number, :, columns.odd : columns.odd + span : window.dilation.width] = w
    return _pairs(spread[..., ::2], spread[..., 1::2])


@lru_cache(maxsize=256)
def _proven_multiply(layer: Depthwise) -> Proven | None:
    return requantize.prove_multiply(layer.requantization, layer.range, SCALE)


@lru_cache(maxsize=256)
def _proven_multiply_add(layer: Depthwise) -> Proven | None:
    return requantize.prove_multiply_add(layer.requantization, layer.range, SCALE)


FAMILIES = (DepthwiseWalk(), DepthwiseTaps())
