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

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from memaopt import fixedpoint
from memaopt.access import Access, stores
from memaopt.fixedpoint import Int64Array
from memaopt.kernels import around
from memaopt.kernels.code import Loop, Node
from memaopt.kernels.depthwise.kernels import Geometry, TapsKernel, WalkKernel, geometry
from memaopt.kernels.depthwise.walks import Column, walk_of
from memaopt.kernels.emitted import Emitted, emitted, unary
from memaopt.kernels.family import data_bytes, dimensions, pareto
from memaopt.kernels.leads import lead_of
from memaopt.kernels.plan import Format, Plan, Promise, saved
from memaopt.kernels.planes import Plane, PlaneGather, groups
from memaopt.kernels.rounding import requantize
from memaopt.kernels.rounding.output import Output, channel_parameters
from memaopt.kernels.rounding.requantize import Proven
from memaopt.kernels.text.c import Array, words_bytes
from memaopt.kernels.text.thumb import REACH
from memaopt.problems.layers import Depthwise, Layer

SCALE = 256
#: Without bands, whose rows above and below are cleared apart, and with them.
_FRAME, _FRAME_OF_BANDS = around.Frame(140, 96), around.Frame(600, 96)


class _Cycles(NamedTuple):
    """Of the C around the kernels, fitted to counts of layers on the virtual board (GCC 12.2 -O3)."""

    layer: int = 40
    gather: int = 12  # a call, and the loop around
    walk: int = 10  # a call
    band: int = 30
    fill: int = 28  # a call of fill_words, above or below the rows of a plane


_CYCLES = _Cycles()


class Walked(NamedTuple):
    """The walk's kernel, and how it requantises."""

    kernel: WalkKernel
    proven: Proven


class _Tapped(NamedTuple):
    """The same of taps."""

    kernel: TapsKernel
    proven: Proven


class _Depthwise:
    """What both families share: groups of planes, bands, the layer's function."""

    name: str
    computes = Depthwise

    def _choose(self, layer: Depthwise, options: dict[str, int]) -> Walked | _Tapped | None:
        raise AssertionError

    def _parameters(self, layer: Depthwise, options: dict[str, int]) -> Int64Array:
        """What the kernel reads, [channels, words]."""
        raise AssertionError

    def _options(self, layer: Depthwise) -> list[dict[str, int]]:
        raise AssertionError

    def plans(self, layer: Layer) -> tuple[Plan, ...]:
        assert isinstance(layer, Depthwise)
        if layer.shape.channels > REACH:
            return ()
        plans = [self._plan(layer, options) for options in self._options(layer)]
        return pareto(plan for plan in plans if plan is not None)

    def _gather(self, layer: Depthwise, size: int, plane: Plane, input_format: Format) -> PlaneGather:
        return PlaneGather(size, layer.shape.channels, layer.shape.width, layer.input_zero_point, plane, input_format)

    def _plan(self, layer: Depthwise, options: dict[str, int]) -> Plan | None:
        chosen = self._choose(layer, options)
        if chosen is None:
            return None
        kernel, proven = chosen
        plane, band = kernel.geometry.plane, kernel.geometry.band
        input_format = Format.RAW if options["raw"] else Format.S8
        scratch_bytes = plane.bytes * min(options["group"], layer.shape.channels)
        source, planes, output, read = Access(), stores(scratch_bytes // 4, 4), Access(), Access()
        stack = Access()
        c = _CYCLES
        cycles, walking = c.layer + around.FILLED_WORD * scratch_bytes / 4, 0
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
                stack += (saved(9) + kernel.stack(channels).times(calls)).times(count)
                fill = size * (2 * c.fill + around.FILLED_WORD * zeros * plane.pitch / 4) + c.band if band else 0
                walking += count * calls * kernel.cycles(channels)
                cycles += count * (gather.cycles(rows) + calls * c.walk + fill + c.gather)
        cycles += walking
        sizes = [size for size, _ in groups(layer.shape.channels, options["group"])]
        gathers = {self._gather(layer, size, plane, input_format) for size in sizes}
        shared = kernel.code_bytes + sum(g.code_bytes for g in gathers)
        frame = _FRAME_OF_BANDS if band else _FRAME
        tile = f"{options['group']} channels" + (f", bands of {band}" if band else "")
        if isinstance(kernel, WalkKernel) and kernel.walk.turns:
            tile += f", loop of {kernel.unroll}"
        return Plan(
            family=self.name,
            tile=tile,
            cycles=round(cycles),
            promise=Promise((source,), output, read, planes, stack),
            data_bytes=words_bytes(layer.output.channels * kernel.words),
            code_bytes=shared + frame.code,
            scratch_bytes=scratch_bytes,
            stack_bytes=72 + frame.stack,
            kernels=(kernel.name, *sorted(g.name for g in gathers)),
            shared_bytes=shared,
            code=self._code(layer, kernel, options, input_format),
            input_format=input_format,
            packings=(kernel.packing(layer.output.channels),) if isinstance(kernel, WalkKernel) else (),
            lead=_lead(layer, plane, band) if layer.multiplier == 1 else None,
            lead_step=layer.shape.channels if layer.multiplier == 1 else 1,
            alignment=4,
            requantization=proven.describe(),
            options=tuple(sorted(options.items())),
        )

    def _code(
        self, layer: Depthwise, kernel: WalkKernel | TapsKernel, options: dict[str, int], input_format: Format
    ) -> tuple[Node, ...]:
        """What one call executes: zeros once, then for each group of channels, band by band, gathering and walking."""
        plane, band = kernel.geometry.plane, kernel.geometry.band
        most = min(options["group"], layer.shape.channels)
        nodes: list[Node] = [*around.entry(), around.fill_words(plane.bytes * most // 4)]
        bands = _bands(layer, plane, band)
        rows, zeros = (sum(column) / len(bands) for column in zip(*bands, strict=True))
        for size, count in groups(layer.shape.channels, options["group"]):
            words = kernel.words * layer.multiplier
            walking: tuple[Node, ...] = (around.piece(around.CALL), kernel.call(size))
            if layer.multiplier > 1:
                one = (around.piece(around.CALL), kernel.call(layer.multiplier))
                walking = (Loop(one, size, words), Loop((), 1, -size * words))
            filling: tuple[Node, ...] = ()
            if band:
                fill: tuple[Node, ...] = (around.piece(around.ROW), *(around.fill_words(zeros * plane.pitch / 8),) * 2)
                filling = (around.piece(around.ROW), Loop(fill, size))
            gather = self._gather(layer, size, plane, input_format).call(rows)
            body = (*filling, around.piece(around.CALL), gather, *walking)
            nodes.append(Loop((Loop(body, len(bands)),), count, size * words))
        return tuple(nodes)

    def emit(self, layer: Layer, plan: Plan, name: str) -> Emitted:
        assert isinstance(layer, Depthwise)
        options = dict(plan.options)
        chosen = self._choose(layer, options)
        assert chosen is not None
        kernel = chosen.kernel
        plane, band = kernel.geometry.plane, kernel.geometry.band
        split = groups(layer.shape.channels, options["group"])
        gathers = [self._gather(layer, size, plane, plan.input_format) for size, _ in split]
        comment = "parameters of each channel, as the kernel reads them"
        weights = Array("int32_t", f"{name}_weights", self._parameters(layer, options), comment)
        # A channel's are read again for each tile.
        arrays = [weights.in_lines(4 * kernel.words)]
        assert data_bytes(arrays) == plan.kernel_bytes
        shapes = f"{dimensions(layer.shape)} -> {dimensions(layer.output)}"
        return emitted(
            unary(name),
            plan,
            f"DEPTHWISE_CONV_2D {shapes}, {layer.window.describe()}",
            "kernels/depthwise/depthwise_layer.c.j2",
            arrays=arrays,
            kernels=(*gathers, kernel),
            layer=layer,
            kernel=kernel.name,
            plane=plane,
            band={"rows": band} if band else None,
            stride=layer.window.stride.height,
            words=kernel.words,
            scratch_bytes=(plan.streams or plan).scratch_bytes,
            groups=[
                {"size": size, "count": count, "gather": gather.name}
                for (size, count), gather in zip(split, gathers, strict=True)
            ],
        )


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


def _lead(layer: Depthwise, plane: Plane, band: int) -> int:
    """The lead of an output whose channels lie on the input's same channels, so that groups never meet: within a
    group each band (or the whole image) is gathered before its outputs are written. In whole positions."""
    window, (height, width, channels) = layer.window, layer.output
    rows = band or height
    tops = [min(y, height - rows) for y in range(0, height, rows)]
    reads = [max(top * window.stride.height - window.padding.top, 0) * layer.shape.width * channels for top in tops]
    return lead_of(reads, [(top + rows) * width * channels for top in tops], layer.shape.elements)


def pairs_of(low: Int64Array, high: Int64Array) -> Int64Array:
    """int32 words of two halfwords."""
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
            for band in bands
            for group in most
            for unroll in unrolls
            for raw in formats
        ]

    def _choose(self, layer: Depthwise, options: dict[str, int]) -> Walked | None:
        band = options["band"]
        return walk_for(layer, geometry(layer, band, zero_rows=bool(band)), band, options["unroll"])

    def _parameters(self, layer: Depthwise, options: dict[str, int]) -> Int64Array:
        walked = self._choose(layer, options)
        assert walked is not None
        return walk_parameters(layer, walked)


_PAIR_SPAN = 8  # bytes from a row's first word to its third


def walk_for(layer: Depthwise, shape: Geometry, band: int, unroll: int) -> Walked | None:
    """The walk over planes of that shape, ``band`` rows of outputs high (0: all, without rows of zeros)."""
    proven = prove_multiply(layer)
    if proven is None:
        return None
    window = layer.window
    column = Column(
        rows=shape.plane.rows,
        above=0 if band else window.padding.top,
        stride=window.stride.height,
        outputs=band or layer.output.height,
        pitch=shape.plane.pitch,
        out_pitch=layer.output.width * layer.output.channels,
    )
    kernel = _walk_kernel(shape, column, unroll, Output.of(proven, layer.requantization))
    return None if kernel is None else Walked(kernel, proven)


@lru_cache(maxsize=1024)
def _walk_kernel(shape: Geometry, column: Column, unroll: int, output: Output) -> WalkKernel | None:
    """The kernel, None if there is no walk; plans that share it price it once."""
    walk = walk_of(column, unroll)
    if walk is None:
        return None
    if not walk.turns and _pairs(shape, column):
        return WalkKernel(shape, column._replace(span=_PAIR_SPAN), 0, output, paired=True)
    return WalkKernel(shape, column, unroll if walk.turns else 0, output)


def _pairs(shape: Geometry, column: Column) -> bool:
    """Whether two columns go at once: they share a word of a row, each has one accumulator, and both outputs are in
    reach."""
    if column.live > 1 or any(each.x_step != 4 or each.columns % 2 for each in shape.sets):
        return False
    walk = walk_of(column._replace(span=_PAIR_SPAN), 0)
    stored = [tap.y for step in walk.code for tap in step.taps if tap.y is not None] if walk else []
    return bool(stored) and max(stored) + shape.sets[0].y_step <= REACH


def walk_parameters(layer: Depthwise, walked: Walked) -> Int64Array:
    """What the walk reads of each channel, [channels, words]."""
    kernel, proven = walked
    w = SCALE * layer.weights.astype(np.int64).transpose(2, 0, 1)
    w[proven.constant] = 0
    start = np.where(proven.constant, 0, SCALE * layer.bias) + proven.start
    blocks = []
    for number, columns in enumerate(kernel.geometry.sets):
        pair = pairs_of(w[..., 1], w[..., 2]) if columns.odd else pairs_of(w[..., 0], w[..., 1])
        alone = w[..., 0] if columns.odd else w[..., 2]
        alone = np.concatenate([alone, np.zeros_like(alone[:, :1])], axis=1)
        blocks += [pair, pairs_of(alone[:, ::2], alone[:, 1::2])]
        if number == 0:
            blocks += [proven.multiplier[:, None], start[:, None]]
    return np.concatenate(blocks, axis=1)


class DepthwiseTaps(_Depthwise):
    """Any window, stride and dilation."""

    name = "depthwise taps"

    def _options(self, layer: Depthwise) -> list[dict[str, int]]:
        height = layer.output.height
        bands = sorted({b for b in (height, 16, 8) if b <= height})
        most = [g for g in (4, 2) if g <= layer.shape.channels] or [1]
        formats = (0, 1) if layer.shape.channels % 2 == 0 else (0,)
        return [{"band": band, "group": group, "raw": raw} for band in bands for group in most for raw in formats]

    def _choose(self, layer: Depthwise, options: dict[str, int]) -> _Tapped | None:
        proven = prove_multiply_add(layer)
        if proven is None:
            return None
        window = layer.window
        shape = geometry(layer, options["band"], zero_rows=True)
        out_pitch = layer.output.width * layer.output.channels
        rows, words = window.kernel.height, _words(layer, shape)
        t = min(4, options["band"])
        while (
            t
            and max(
                ((t - 1) * window.stride.height + (rows - 1) * window.dilation.height) * shape.plane.pitch + 4 * words,
                4 * (5 + 2 * rows * words),
            )
            > REACH
        ):
            t -= 1
        if t == 0 or out_pitch >= 1 << 20:
            return None
        output = Output.of(proven, layer.requantization)
        kernel = TapsKernel(shape, t, rows, words, window.stride.height, window.dilation.height, out_pitch, output)
        return _Tapped(kernel, proven)

    def _parameters(self, layer: Depthwise, options: dict[str, int]) -> Int64Array:
        tapped = self._choose(layer, options)
        assert tapped is not None
        proven = tapped.proven
        start = fixedpoint.wrap_int32(SCALE * layer.bias + proven.start)
        taps = _taps(layer, tapped.kernel.geometry)
        return np.concatenate([start[:, None], channel_parameters(proven), taps.reshape(len(start), -1)], axis=1)


def _words(layer: Depthwise, shape: Geometry) -> int:
    """Words of a row of weights in pairs, shifted by one for odd columns where there are any."""
    return -(-(layer.window.extent.width + any(s.odd for s in shape.sets)) // 2)


def _taps(layer: Depthwise, shape: Geometry) -> Int64Array:
    """Weights in pairs, [channels, sets, rows, words]: spread by the dilation, shifted by one for odd columns."""
    window = layer.window
    spread = np.zeros(
        (layer.output.channels, len(shape.sets), window.kernel.height, 2 * _words(layer, shape)), np.int64
    )
    w = SCALE * layer.weights.astype(np.int64).transpose(2, 0, 1)
    for number, columns in enumerate(shape.sets):
        spread[:, number, :, columns.odd : columns.odd + window.extent.width : window.dilation.width] = w
    return pairs_of(spread[..., ::2], spread[..., 1::2])


@lru_cache(maxsize=256)
def prove_multiply(layer: Depthwise) -> Proven | None:
    """The requantisation with SMMUL alone, None if not found."""
    return requantize.prove_multiply(layer.requantization, layer.range, SCALE)


@lru_cache(maxsize=256)
def prove_multiply_add(layer: Depthwise) -> Proven | None:
    """The same with SMMLA."""
    return requantize.prove_multiply_add(layer.requantization, layer.range, SCALE)


def prove(layer: Depthwise) -> tuple[Proven, bool] | None:
    """The requantisation without an addend if it can be, and whether it has one; None if not found."""
    bare = prove_multiply(layer)
    proven = prove_multiply_add(layer) if bare is None else bare
    return None if proven is None else (proven, bare is None)


FAMILIES = (DepthwiseWalk(), DepthwiseTaps())
