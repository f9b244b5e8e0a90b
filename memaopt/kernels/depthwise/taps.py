"""Any window on planes (family "depthwise taps"): up to six rows of a column at a time; each word of
weights, shifted by one element for odd columns, meets a word of the rows that it belongs to.
"""

import numpy as np

from memaopt import fixedpoint
from memaopt.fixedpoint import Int64Array
from memaopt.kernels.depthwise.depthwise import SCALE, OnPlanes, Tapped, pairs_of, prove_multiply_add
from memaopt.kernels.depthwise.kernels import Geometry, geometry
from memaopt.kernels.depthwise.taps_kernel import MOST, TapsKernel, rows_at_once
from memaopt.kernels.rounding.output import Output, channel_parameters
from memaopt.kernels.text.thumb import REACH
from memaopt.problems.layers import Depthwise


class DepthwiseTaps(OnPlanes):
    """Any window, stride and dilation."""

    name = "depthwise taps"

    def _options(self, layer: Depthwise) -> list[dict[str, int]]:
        height = layer.output.height
        bands = sorted({b for b in (height, 16, 8) if b <= height})
        most = [g for g in (4, 2) if g <= layer.shape.channels] or [1]
        formats = (0, 1) if layer.shape.channels % 2 == 0 else (0,)
        return [{"band": band, "group": group, "raw": raw} for band in bands for group in most for raw in formats]

    def _choose(self, layer: Depthwise, options: dict[str, int]) -> Tapped | None:
        proven = prove_multiply_add(layer)
        if proven is None:
            return None
        window = layer.window
        shape = geometry(layer, options["band"], zero_rows=True)
        out_pitch = layer.output.width * layer.output.channels
        rows, words = window.kernel.height, _words(layer, shape)
        t = min(MOST, options["band"])
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
        taps = _taps(layer, tapped.kernel.geometry)
        return np.concatenate([start[:, None], channel_parameters(proven), taps.reshape(len(start), -1)], axis=1)


def _words(layer: Depthwise, shape: Geometry) -> int:
    """Words of a row of weights in pairs, shifted by one for odd columns where there are any."""
    return -(-(layer.window.extent.width + any(s.odd for s in shape.sets)) // 2)


def _taps(layer: Depthwise, shape: Geometry) -> Int64Array:
    """Weights in pairs, [channels, sets, words, rows]: spread by the dilation, shifted by one for odd columns."""
    window = layer.window
    spread = np.zeros(
        (layer.output.channels, len(shape.sets), window.kernel.height, 2 * _words(layer, shape)), np.int64
    )
    w = SCALE * layer.weights.astype(np.int64).transpose(2, 0, 1)
    for number, columns in enumerate(shape.sets):
        spread[:, number, :, columns.odd : columns.odd + window.extent.width : window.dilation.width] = w
    return pairs_of(spread[..., ::2], spread[..., 1::2]).transpose(0, 1, 3, 2)


FAMILIES = (DepthwiseTaps(),)
