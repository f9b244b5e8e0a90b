"""Any window on planes (family "depthwise taps"): up to six rows of a column at a time; each word of
weights, shifted by one element for odd columns, meets a word of the rows that it belongs to.
"""

from dataclasses import replace

import numpy as np

from memaopt import fixedpoint
from memaopt.fixedpoint import Int64Array
from memaopt.kernels.depthwise.depthwise import SCALE, OnPlanes, Tapped, pairs_of, prove_multiply_add
from memaopt.kernels.depthwise.kernels import Geometry, geometry
from memaopt.kernels.depthwise.taps_kernel import MOST, TapsKernel, rows_at_once
from memaopt.kernels.emitted import Emitted
from memaopt.kernels.family import pareto
from memaopt.kernels.plan import Format, Plan
from memaopt.kernels.rounding.output import Output, channel_parameters
from memaopt.kernels.text.thumb import REACH
from memaopt.problems.geometry import Image, Padding, Pair
from memaopt.problems.layers import Depthwise


def columns_apart(layer: Depthwise) -> Depthwise | None:
    """The same bytes as an image of fewer columns and more channels, in which a window that is dilated along rows is
    not: neighbouring columns, as many as its taps are apart, are one. None where they do not fill the rows."""
    apart, window, (height, width, channels) = layer.window.dilation.width, layer.window, layer.shape
    sizes = width, layer.output.width, window.padding.left
    if apart == 1 or window.stride.width > 1 or any(size % apart for size in sizes):
        return None
    return replace(
        layer,
        shape=Image(height, width // apart, apart * channels),
        output=Image(layer.output.height, layer.output.width // apart, apart * layer.output.channels),
        weights=np.tile(layer.weights, (1, 1, apart)),
        bias=np.tile(layer.bias, apart),
        window=replace(
            window,
            dilation=Pair(window.dilation.height, 1),
            padding=Padding(window.padding.top, window.padding.left // apart),
        ),
        requantization=layer.requantization.tiled(apart),
    )


class DepthwiseTaps(OnPlanes):
    """Any window, stride and dilation."""

    name = "depthwise taps"

    def _options(self, layer: Depthwise) -> list[dict[str, int]]:
        height = layer.output.height
        bands = sorted({b for b in (height, 16, 8) if b <= height})
        most = [g for g in (4, 2) if g <= layer.shape.channels] or [1]
        formats = (0, 1) if layer.shape.channels % 2 == 0 else (0,)
        plain = [{"band": band, "group": group, "raw": raw} for band in bands for group in most for raw in formats]
        # Neighbours in planes are columns as far apart as taps are.
        phased = [{**options, "phased": 1} for options in plain if layer.window.dilation.width > 1]
        return [*plain, *phased]

    def plans(self, layer: Depthwise) -> tuple[Plan, ...]:
        made, apart = super().plans(layer), columns_apart(layer)
        if apart is None:
            return made
        # Of an odd number of channels, bytes of even ones are others in every other column.
        even = layer.shape.channels % 2 == 0
        found = [plan for plan in super().plans(apart) if even or plan.input_format is Format.S8]
        more = (replace(p, tile=f"{p.tile}, columns apart", options=(("apart", 1), *p.options)) for p in found)
        return pareto((*made, *more))

    def emit(self, layer: Depthwise, plan: Plan, name: str) -> Emitted:
        apart = columns_apart(layer) if ("apart", 1) in plan.options else None
        return super().emit(layer if apart is None else apart, plan, name)

    def _choose(self, layer: Depthwise, options: dict[str, int]) -> Tapped | None:
        proven = prove_multiply_add(layer)
        if proven is None:
            return None
        window = layer.window
        phased = "phased" in options
        shape = geometry(layer, options["band"], zero_rows=True, phased=phased)
        if phased and max(layer.shape.channels * window.dilation.width, shape.plane.pitch) > REACH:
            return None
        if not any(segment.width for segment in shape.segments):
            return None  # no tap meets a column: there is nothing to fill planes with
        out_pitch = layer.output.width * layer.output.channels
        rows, words = window.kernel.height, _words(layer, shape, phased)
        t = min(MOST, options["band"])
        while (
            t
            and max(
                ((t - 1) * window.stride.height + (rows - 1) * window.dilation.height) * shape.plane.pitch + 4 * words,
                4 * (5 + max(len(shape.sets), 2) * rows * words),
            )
            > REACH
        ):
            t -= 1
        if t == 0 or out_pitch >= 1 << 20:
            return None
        sizes = rows, words, window.stride.height, window.dilation.height
        t = rows_at_once(t, options["band"], *sizes)
        output = Output.of(proven, layer.requantization)
        kernel = TapsKernel(shape, t, *sizes, out_pitch, output)
        return Tapped(kernel, proven)

    def _parameters(self, layer: Depthwise, options: dict[str, int]) -> Int64Array:
        tapped = self._choose(layer, options)
        assert tapped is not None
        proven = tapped.proven
        start = fixedpoint.wrap_int32(SCALE * layer.bias + proven.start)
        taps = _taps(layer, tapped.kernel.geometry, "phased" in options)
        return np.concatenate([start[:, None], channel_parameters(proven), taps.reshape(len(start), -1)], axis=1)


def _words(layer: Depthwise, shape: Geometry, phased: bool) -> int:
    """Words of a row of weights in pairs, shifted by one for odd columns where there are any."""
    span = layer.window.kernel.width if phased else layer.window.extent.width
    return -(-(span + any(s.odd for s in shape.sets)) // 2)


def _taps(layer: Depthwise, shape: Geometry, phased: bool) -> Int64Array:
    """Weights in pairs, [channels, sets, words, rows]: spread by the dilation, but not if they are ``phased``, shifted
    by one for odd columns."""
    window = layer.window
    apart = 1 if phased else window.dilation.width
    spread = np.zeros(
        (layer.output.channels, len(shape.sets), window.kernel.height, 2 * _words(layer, shape, phased)), np.int64
    )
    w = SCALE * layer.weights.astype(np.int64).transpose(2, 0, 1)
    for number, columns in enumerate(shape.sets):
        spread[:, number, :, columns.odd : columns.odd + (window.kernel.width - 1) * apart + 1 : apart] = w
    return pairs_of(spread[..., ::2], spread[..., 1::2]).transpose(0, 1, 3, 2)


FAMILIES = (DepthwiseTaps(),)
