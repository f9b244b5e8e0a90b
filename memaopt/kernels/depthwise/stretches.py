"""Windows of one row, or of one column, on planes (family "depthwise stretches"): some outputs beside each other at
once. For windows of one column planes are turned: their rows are columns of the image, filled as such.
"""

from dataclasses import replace

import numpy as np

from memaopt import fixedpoint
from memaopt.fixedpoint import Int64Array
from memaopt.kernels.depthwise.depthwise import SCALE, OnPlanes, Tapped, pairs_of, prove_multiply_add
from memaopt.kernels.depthwise.kernels import geometry
from memaopt.kernels.depthwise.stretch_kernel import MOST, StretchKernel, words_of
from memaopt.kernels.depthwise.taps import columns_apart
from memaopt.kernels.emitted import Emitted
from memaopt.kernels.family import pareto
from memaopt.kernels.plan import Plan
from memaopt.kernels.rounding.output import Output, channel_parameters
from memaopt.kernels.text.thumb import REACH
from memaopt.problems.geometry import Image, Padding, Pair
from memaopt.problems.layers import Depthwise

_LEAST_TAPS = 4


def _turned(layer: Depthwise) -> Depthwise:
    """The layer of the image whose rows are this one's columns."""
    (height, width, channels), window, output = layer.shape, layer.window, layer.output
    return replace(
        layer,
        shape=Image(width, height, channels),
        output=Image(output.width, output.height, output.channels),
        weights=layer.weights.transpose(1, 0, 2),
        window=replace(
            window,
            kernel=Pair(*window.kernel[::-1]),
            stride=Pair(*window.stride[::-1]),
            dilation=Pair(*window.dilation[::-1]),
            padding=Padding(window.padding.left, window.padding.top),
        ),
    )


class DepthwiseStretches(OnPlanes):
    """Windows of at least four taps in a line, of any stride, or dilated by what divides the line."""

    name = "depthwise stretches"

    def plans(self, layer: Depthwise) -> tuple[Plan, ...]:
        # Where columns apart are one of more channels, bytes of even ones are others in every other column.
        formats = (0, 1) if layer.shape.channels % 2 == 0 else (0,)
        made = list[Plan]()
        for way in ({"apart": apart, "turned": turned} for apart in (0, 1) for turned in (0, 1)):
            view = _view(layer, way)
            if view is None or view.shape.channels > REACH:
                continue
            groups = [g for g in (4, 2) if g <= view.shape.channels] or [1]
            options = [{"band": 0, "group": group, "raw": raw, **way} for group in groups for raw in formats]
            found = (plan for each in options if (plan := self._plan(view, each)) is not None)
            said = ", columns apart" * way["apart"] + ", turned" * way["turned"]
            made += [replace(plan, tile=plan.tile + said) for plan in found]
        return pareto(made)

    def emit(self, layer: Depthwise, plan: Plan, name: str) -> Emitted:
        view = _view(layer, dict(plan.options))
        assert view is not None
        return super().emit(view, plan, name)

    def _choose(self, layer: Depthwise, options: dict[str, int]) -> Tapped | None:
        window, output, turned = layer.window, layer.output, options["turned"]
        taps, stride = window.kernel.width, window.stride
        if window.kernel.height > 1 or taps < _LEAST_TAPS or window.dilation.width > 1:
            return None
        if window.padding.top or (output.height - 1) * stride.height >= layer.shape.height:
            return None  # a row of outputs without inputs
        column = layer.shape.height * layer.shape.channels
        proven = prove_multiply_add(layer)
        if proven is None or (turned and column > REACH):
            return None
        shape = geometry(layer, 0, zero_rows=False)
        if not any(segment.width for segment in shape.segments):
            return None  # no tap meets a column
        if turned:
            turn = [one._replace(apart=layer.shape.height, image=1) for one in shape.segments]
            shape = shape._replace(segments=tuple(turn))
        steps = output.channels, output.width * output.channels
        out_step, out_pitch = (output.height * output.channels, output.channels) if turned else steps
        rounding, pitch = Output.of(proven, layer.requantization), shape.plane.pitch * stride.height
        size = taps, stride.width, output.width, output.height
        kernel = StretchKernel(shape, *size, pitch, out_step, out_pitch, rounding)
        if kernel.found is None or max(4 * kernel.words, 2 * (taps + MOST * stride.width)) > REACH:
            return None
        return Tapped(kernel, proven)

    def _parameters(self, layer: Depthwise, options: dict[str, int]) -> Int64Array:
        tapped = self._choose(layer, options)
        assert tapped is not None
        proven, taps = tapped.proven, layer.window.kernel.width
        start = fixedpoint.wrap_int32(SCALE * layer.bias + proven.start)
        blocks = [start[:, None], channel_parameters(proven)]
        for odd in (False, True):
            spread = np.zeros((len(start), 2 * words_of(taps, odd)), np.int64)
            spread[:, int(odd) : int(odd) + taps] = SCALE * layer.weights.astype(np.int64).reshape(taps, -1).T
            blocks.append(pairs_of(spread[:, ::2], spread[:, 1::2]))
        return np.concatenate(blocks, axis=1)


def _view(layer: Depthwise, options: dict[str, int]) -> Depthwise | None:
    """The layer as its planes have it; None if columns apart from each other are no channels of one."""
    view = _turned(layer) if options["turned"] else layer
    if not options["apart"]:
        return view
    return None if options["turned"] and view.shape.height > 1 else columns_apart(view)


FAMILIES = (DepthwiseStretches(),)
