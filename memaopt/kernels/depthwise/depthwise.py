"""DEPTHWISE_CONV_2D on int16 planes: what the families share.

The planes hold x - zero point, with zeros around them where the window reaches beyond the image, so nothing is
unpacked and padding needs no tests. Weights are 256 w, so the accumulator is 256 times the true one.

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
from memaopt.kernels.depthwise.kernels import Geometry, WalkKernel
from memaopt.kernels.depthwise.stretch_kernel import StretchKernel
from memaopt.kernels.depthwise.taps_kernel import TapsKernel
from memaopt.kernels.emitted import Emitted, emitted, unary
from memaopt.kernels.family import data_bytes, dimensions, pareto
from memaopt.kernels.leads import lead_of
from memaopt.kernels.packing import TapPacking
from memaopt.kernels.plan import Format, Plan, Promise, saved
from memaopt.kernels.planes import Plane, PlaneGather, groups
from memaopt.kernels.rounding import cleared, requantize
from memaopt.kernels.rounding.requantize import Proven
from memaopt.kernels.staging import channels_of
from memaopt.kernels.text.c import Array, words_bytes
from memaopt.kernels.text.thumb import REACH
from memaopt.problems.layers import Depthwise

SCALE = 256
#: Without bands, whose rows above and below are cleared apart, and with them.
_STACK_AROUND, _CODE_OF_BANDS = 96, 600
#: Bytes of code without bands: of a layer, of each size of groups, of a loop over such, of each call that fills more
#: planes; and where a kernel is called for each channel of a group.
_CODE, _CODE_BY_CHANNEL = (60, 36, 32, 24), (88, 64, 56, 24)


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


class Tapped(NamedTuple):
    """The same of taps, by rows of a column or by outputs of a row."""

    kernel: TapsKernel | StretchKernel
    proven: Proven


class OnPlanes:
    """What both families share: groups of planes, bands, the layer's function."""

    name: str
    computes = Depthwise

    def _choose(self, layer: Depthwise, options: dict[str, int]) -> Walked | Tapped | None:
        raise AssertionError

    def _parameters(self, layer: Depthwise, options: dict[str, int]) -> Int64Array:
        """What the kernel reads, [channels, words]."""
        raise AssertionError

    def _options(self, layer: Depthwise) -> list[dict[str, int]]:
        raise AssertionError

    def plans(self, layer: Depthwise) -> tuple[Plan, ...]:
        if layer.shape.channels > REACH:
            return ()
        plans = [self._plan(layer, options) for options in self._options(layer)]
        return pareto(plan for plan in plans if plan is not None)

    def _gathers(
        self, layer: Depthwise, size: int, geometry: Geometry, input_format: Format
    ) -> list[tuple[PlaneGather, int]]:
        """What fills planes of so many channels, and the image's byte that each begins with."""
        (_, width, channels), zero_point, plane = layer.shape, layer.input_zero_point, geometry.plane
        made = []
        for one in geometry.segments:
            to, whole = plane._replace(left=one.at), one.width == width and not one.image
            columns = () if whole else (one.apart, one.image or width)
            gather = PlaneGather(size, channels, one.width, zero_point, to, input_format, *columns)
            made += [(gather, one.first * channels)] if one.width else []
        return made

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
        cycles, walking = c.layer + around.FILLED_WORD * scratch_bytes / 4, 0.0
        for size, count in groups(layer.shape.channels, options["group"]):
            gathers = [gather for gather, _ in self._gathers(layer, size, kernel.geometry, input_format)]
            calls = size if layer.multiplier > 1 else 1
            channels = layer.multiplier if layer.multiplier > 1 else size
            # Of an odd number of channels words begin anywhere, and halfwords at every other byte.
            places = layer.shape.channels * np.arange(4)
            slow = {4: around.unaligned_words(places) / 4, 2: float((places % 2).mean()), 1: 0.0}[size]
            for rows, zeros in _bands(layer, plane, band):
                image, filled = (sum(each, Access()) for each in zip(*(g.accesses(rows) for g in gathers), strict=True))
                taps, stored, parameter = kernel.accesses(channels)
                source += image.times(count)
                zeroed = stores(zeros * size * plane.pitch // 4, 4)
                planes += (filled + zeroed + taps.times(calls)).times(count)
                output, read = output + stored.times(count * calls), read + parameter.times(count * calls)
                stack += (saved(9).times(len(gathers)) + kernel.stack(channels).times(calls)).times(count)
                fill = size * (2 * c.fill + around.FILLED_WORD * zeros * plane.pitch / 4) + c.band if band else 0
                walking += count * calls * kernel.cycles(channels)
                gathered = sum(gather.cycles(rows) + c.gather for gather in gathers) + image.loads * slow
                cycles += count * (gathered + calls * c.walk + fill)
        cycles += walking
        sizes = [size for size, _ in groups(layer.shape.channels, options["group"])]
        kinds = {g for size in sizes for g, _ in self._gathers(layer, size, kernel.geometry, input_format)}
        shared = kernel.code_bytes + sum(g.code_bytes for g in kinds)
        around_them = _CODE_OF_BANDS if band else self._code_bytes(layer, kernel.geometry, options["group"])
        tile = f"{options['group']} channels" + (f", bands of {band}" if band else "")
        tile += ", phased" if "phased" in options else ""
        if isinstance(kernel, WalkKernel) and kernel.walk.turns:
            tile += f", loop of {kernel.unroll}"
        return Plan(
            family=self.name,
            tile=tile,
            cycles=round(cycles),
            promise=Promise((source,), output, read, planes, stack),
            data_bytes=words_bytes(layer.output.channels * kernel.words),
            code_bytes=shared + around_them,
            scratch_bytes=scratch_bytes,
            stack_bytes=72 + _STACK_AROUND,
            kernels=(kernel.name, *sorted(g.name for g in kinds)),
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

    def _code_bytes(self, layer: Depthwise, geometry: Geometry, most: int) -> int:
        """Bytes of code around kernels, without bands, in groups of ``most`` channels."""
        split = groups(layer.shape.channels, most)
        calls = sum(len(self._gathers(layer, size, geometry, Format.S8)) for size, _ in split)
        whole, each, loop, call = _CODE_BY_CHANNEL if layer.multiplier > 1 else _CODE
        looped = any(count > 1 for _, count in split)
        return whole + each * (len(split) - 1) + loop * looped + call * (calls - len(split))

    def _code(
        self,
        layer: Depthwise,
        kernel: WalkKernel | TapsKernel | StretchKernel,
        options: dict[str, int],
        input_format: Format,
    ) -> tuple[Node, ...]:
        """What one call executes: zeros once, then all groups of channels."""
        channels = layer.shape.channels
        zeros = around.fill_words(kernel.geometry.plane.bytes * min(options["group"], channels) // 4)
        return (*around.entry(), zeros, *self._groups(layer, kernel, options, input_format, channels))

    def _groups(
        self,
        layer: Depthwise,
        kernel: WalkKernel | TapsKernel | StretchKernel,
        options: dict[str, int],
        input_format: Format,
        channels: int,
    ) -> tuple[Node, ...]:
        """For each group of so many channels, band by band, gathering and walking."""
        plane, band = kernel.geometry.plane, kernel.geometry.band
        nodes: list[Node] = []
        bands = _bands(layer, plane, band)
        rows, zeros = (sum(column) / len(bands) for column in zip(*bands, strict=True))
        for size, count in groups(channels, options["group"]):
            words = kernel.words * layer.multiplier
            walking: tuple[Node, ...] = (around.piece(around.CALL), kernel.call(size))
            if layer.multiplier > 1:
                one = (around.piece(around.CALL), kernel.call(layer.multiplier))
                walking = (Loop(one, size, words), Loop((), 1, -size * words))
            filling: tuple[Node, ...] = ()
            if band:
                fill: tuple[Node, ...] = (around.piece(around.ROW), *(around.fill_words(zeros * plane.pitch / 8),) * 2)
                filling = (around.piece(around.ROW), Loop(fill, size))
            gathers = self._gathers(layer, size, kernel.geometry, input_format)
            called = [node for gather, _ in gathers for node in (around.piece(around.CALL), gather.call(rows))]
            body = (*filling, *called, *walking)
            nodes.append(Loop((Loop(body, len(bands)),), count, size * words))
        return tuple(nodes)

    def _copied(self, plan: Plan, kernel: WalkKernel | TapsKernel | StretchKernel, weights: str) -> str:
        """The statement that brings in the constants of a block of channels, of which ``channel`` is the first."""
        assert isinstance(kernel, WalkKernel)
        (whole,) = plan.packings
        assert isinstance(whole, TapPacking)
        packing = whole._replace(channels=plan.block)
        each, beside = packing.packed_words // plan.block, packing.channel_words // plan.block
        return packing.call("block", f"{weights} + channel * {each}", f"{channels_of(weights)} + channel * {beside}")

    def emit(self, layer: Depthwise, plan: Plan, name: str) -> Emitted:
        options = dict(plan.options)
        chosen = self._choose(layer, options)
        assert chosen is not None
        kernel = chosen.kernel
        plane, band = kernel.geometry.plane, kernel.geometry.band
        split = groups(plan.block or layer.shape.channels, options["group"])
        gathers = [self._gathers(layer, size, kernel.geometry, plan.input_format) for size, _ in split]
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
            kernels=(*(gather for each in gathers for gather, _ in each), kernel),
            layer=layer,
            kernel=kernel.name,
            plane=plane,
            band={"rows": band} if band else None,
            stride=layer.window.stride.height,
            words=kernel.words,
            scratch_bytes=plan.kernel_scratch,
            block=plan.block,
            copy=self._copied(plan, kernel, weights.name) if plan.block else "",
            groups=[
                {"size": size, "count": count, "gathers": [(gather.name, at) for gather, at in each]}
                for (size, count), each in zip(split, gathers, strict=True)
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


@lru_cache(maxsize=256)
def prove_multiply(layer: Depthwise) -> Proven | None:
    """The requantisation with SMMUL alone, None if not found."""
    return requantize.prove_multiply(layer.requantization, layer.range, SCALE)


@lru_cache(maxsize=256)
def prove_multiply_add(layer: Depthwise) -> Proven | None:
    """The same with SMMLA."""
    return cleared.prove_multiply_add(layer.requantization, layer.range, SCALE)


def prove(layer: Depthwise) -> tuple[Proven, bool] | None:
    """The requantisation without an addend if it can be, and whether it has one; None if not found."""
    bare = prove_multiply(layer)
    proven = prove_multiply_add(layer) if bare is None else bare
    return None if proven is None else (proven, bare is None)
