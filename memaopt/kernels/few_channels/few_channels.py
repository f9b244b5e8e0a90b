"""CONV_2D of up to three output channels (in each group), and FULLY_CONNECTED of as many: straight from bytes.

Kernels that copy patches to a tile on the stack share the copy between all their channels; with three or fewer it
costs as much as the products. This one widens what it reads in registers (kernel.py), so nothing is copied but padding.

Preconditions, checked offline: 256 |acc| < 2^31 for every input, and the requantisation is proven. 256 w fits 16 bits
for every weight.
"""

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import ClassVar, NamedTuple

import numpy as np

from memaopt import fixedpoint
from memaopt.fixedpoint import Int64Array
from memaopt.kernels import around, strips
from memaopt.kernels.chained_rows.chained_rows import title_of
from memaopt.kernels.emitted import Emitted, emitted, unary
from memaopt.kernels.executed import cycles_of
from memaopt.kernels.family import pareto
from memaopt.kernels.few_channels.kernel import MOST, SCALE, FewChannelsKernel, positions
from memaopt.kernels.patches import patch_of
from memaopt.kernels.plan import Plan
from memaopt.kernels.raw_pairs.raw_pairs import emitted_patches, patch_plan, strip_heights
from memaopt.kernels.rounding import cleared
from memaopt.kernels.rounding.output import Output, channel_parameters
from memaopt.kernels.rounding.requantize import Proven
from memaopt.kernels.text.c import Array
from memaopt.kernels.text.thumb import REACH
from memaopt.problems.content import interned
from memaopt.problems.geometry import Image, Pair, Window
from memaopt.problems.layers import Conv, FullyConnected, Layer

_FRAME = around.Frame(120, 88)  # of calls for one row


class _Chosen(NamedTuple):
    """The kernel, the positions that it goes over, and how it requantises."""

    kernel: FewChannelsKernel
    grid: strips.Grid
    proven: Proven


@dataclass(frozen=True)
class FewChannels:
    """Any window, stride, dilation and padding."""

    computes: type
    name: ClassVar[str] = "few channels"

    def plans(self, layer: Layer) -> tuple[Plan, ...]:
        conv = _as_conv(layer)
        if len(conv.weights) > MOST * conv.groups:
            return ()
        tried = ((rows, beside) for rows in strip_heights(conv) for beside in ((False,) if rows else (False, True)))
        return pareto(plan for each in tried if (plan := self._plan(conv, *each)) is not None)

    def _plan(self, layer: Conv, rows: int, beside: bool) -> Plan | None:
        chosen = _choose(layer, rows, beside)
        if chosen is None:
            return None
        kernel, grid, proven = chosen
        plan = patch_plan(self.name, layer, kernel, grid, rows, proven, kernel.words)
        return _in_one_row(plan, kernel, grid) if beside else plan

    def emit(self, layer: Layer, plan: Plan, name: str) -> Emitted:
        conv = _as_conv(layer)
        beside = ("beside", 1) in plan.options
        chosen = _choose(conv, plan.option("strip"), beside)
        assert chosen is not None
        kernel, grid, proven = chosen
        comment = "initial accumulators, weights times 256, output stage"
        stream = _stream(conv, kernel, proven)
        if beside:
            runs = grid.runs(grid.rows)
            return emitted(
                unary(name),
                plan,
                title_of(layer),
                "kernels/few_channels/few_channels_layer.c.j2",
                arrays=[Array("int32_t", f"{name}_weights", stream, comment).in_lines()],
                kernels=(kernel,),
                kernel=kernel.name,
                tiles=runs[0],
                rest=grid.width - kernel.n if len(runs) > 1 else 0,
                step=grid.step,
                outputs=grid.outputs,
            )
        return emitted_patches(conv, plan, name, kernel, grid, stream, comment, kernel.words, title_of(layer))


def _as_conv(layer: Layer) -> Conv:
    """The layer as a convolution: rows of a fully connected one are positions."""
    if isinstance(layer, Conv):
        return layer
    assert isinstance(layer, FullyConnected)
    m, depth = layer.weights.shape
    weights, window = layer.weights.reshape(m, 1, 1, depth), Window(Pair(1, 1))
    images = Image(1, layer.rows, depth), Image(1, layer.rows, m)
    return Conv(*images, weights, layer.bias, window, layer.input_zero_point, layer.requantization)


def _in_one_row(plan: Plan, kernel: FewChannelsKernel, grid: strips.Grid) -> Plan:
    """The plan without what goes from row to row: a call for all tiles, and one for a last tile that overlaps."""
    runs = grid.runs(grid.rows)
    code = around.entry()
    for tiles in runs:
        code += (around.piece(around.TILES), kernel.call(tiles))
    return replace(
        plan,
        tile=f"{plan.tile} beside",
        cycles=round(cycles_of(code)),
        code=code,
        code_bytes=kernel.code_bytes + _FRAME.code,
        stack_bytes=kernel.stack_bytes + _FRAME.stack,
        options=(("beside", 1), *plan.options),
    )


def _choose(layer: Conv, rows: int, beside: bool) -> _Chosen | None:
    """With strips of so many rows, or none, and of one row with one address for positions that lie ``beside`` each
    other; None where a precondition fails."""
    proven = _proven(layer)
    if proven is None or layer.output.channels > REACH:
        return None
    m = len(layer.weights) // layer.groups
    pitch, start = strips.pitch_and_start(layer, rows)
    patch, (height, width, depth) = patch_of(layer, pitch, start), layer.output
    tall = min(rows, height % rows or rows) if rows else height
    n = min(positions(m, beside), tall * width, 1 + (REACH - m) // depth)
    grid = strips.grid_of(layer, n, pitch, rows > 0)
    if beside and (grid.rows > 1 or layer.groups > 1 or n * grid.step > REACH):
        return None
    # The first channels of groups, and the image behind the padding on the left, lie anywhere.
    apart = math.gcd(4, grid.step, patch.pitch, layer.weights.shape[-1] if layer.groups > 1 else 4)
    output = Output.of(proven, layer.requantization)
    kernel = FewChannelsKernel(m, n, patch, n * grid.step, apart, output, depth, grid.step if beside else 0)
    return _Chosen(interned(kernel), grid, proven)


def _stream(layer: Conv, kernel: FewChannelsKernel, proven: Proven) -> Int64Array:
    """The kernel's parameters in the order in which it reads them, [groups, words]."""
    m = len(layer.weights)
    w = np.where(proven.constant[:, None], 0, layer.weights.reshape(m, -1).astype(np.int64))
    folded = np.where(proven.constant, 0, layer.bias - layer.input_zero_point * w.sum(axis=1))
    start, parameters = fixedpoint.wrap_int32(SCALE * folded + proven.start), channel_parameters(proven)
    return np.stack(
        [
            np.concatenate([start[group], kernel.weights(w[group]), parameters[group].ravel()])
            for group in np.arange(m).reshape(layer.groups, -1)
        ]
    )


@lru_cache(maxsize=256)
def _proven(layer: Conv) -> Proven | None:
    return cleared.prove_multiply_add(layer.requantization, layer.range, SCALE)


FAMILIES = (FewChannels(Conv), FewChannels(FullyConnected))
