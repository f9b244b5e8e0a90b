"""CONV_2D 1x1 of four channels in and out or more: tiles of 32 sums, for the fewest bytes to and from registers.

See kernel.py. Preconditions, checked offline: 256 |acc| < 2^31 for every input, and the requantisation is proven.
"""

from typing import NamedTuple

import numpy as np

from memaopt.kernels import around, strips
from memaopt.kernels.code import Node
from memaopt.kernels.emitted import Emitted, emitted, unary
from memaopt.kernels.executed import cycles_of
from memaopt.kernels.family import dimensions
from memaopt.kernels.plan import Plan, Promise
from memaopt.kernels.rounding import requantize
from memaopt.kernels.rounding.output import Output, channel_parameters
from memaopt.kernels.rounding.requantize import Proven
from memaopt.kernels.text.c import Array, words_bytes
from memaopt.kernels.text.thumb import REACH
from memaopt.kernels.wide_tiles.kernel import CHANNELS, LEAST_INPUTS, MOST, SCALE, WideTilesKernel
from memaopt.problems.content import interned
from memaopt.problems.layers import Conv

_FRAME = around.Frame(72, 24)


class _Chosen(NamedTuple):
    """The kernel, its positions, and how it requantises."""

    kernel: WideTilesKernel
    grid: strips.Grid
    proven: Proven


class WideTiles:
    """Windows of 1x1 without strides, at every position of the image."""

    name = "wide tiles"
    computes = Conv

    def plans(self, layer: Conv) -> tuple[Plan, ...]:
        chosen = _choose(layer)
        if chosen is None:
            return ()
        kernel, grid, proven = chosen
        runs = grid.runs(grid.rows)
        source, output, parameters, stack = kernel.accesses(sum(runs), len(runs))
        code: tuple[Node, ...] = around.entry()
        for tiles in runs:
            code += (around.piece(around.CALL), kernel.call(tiles))
        words = kernel.inputs * np.arange(kernel.n)[:, None] + kernel.at
        starts = kernel.inputs * np.array(grid.starts(grid.rows))
        unaligned = len(kernel.channels) * around.unaligned_words(starts[:, None] + words.ravel())
        plan = Plan(
            family=self.name,
            tile=kernel.tile,
            cycles=round(cycles_of(code) + unaligned),
            promise=Promise((source,), output, parameters, stack=stack),
            data_bytes=words_bytes(kernel.words),
            code_bytes=kernel.code_bytes + _FRAME.code,
            stack_bytes=kernel.stack_bytes + _FRAME.stack,
            kernels=(kernel.name,),
            shared_bytes=kernel.code_bytes,
            code=code,
            alignment=4,
            requantization=proven.describe(),
            fpu=True,
        )
        return (plan,)

    def emit(self, layer: Conv, plan: Plan, name: str) -> Emitted:
        chosen = _choose(layer)
        assert chosen is not None
        kernel, grid, proven = chosen
        comment = "of each four channels: starts, weights, where outputs begin, output stage"
        w = np.where(proven.constant[:, None], 0, layer.weights.reshape(kernel.m, -1).astype(np.int64))
        folded = np.where(proven.constant, 0, layer.bias - layer.input_zero_point * w.sum(axis=1))
        stream = kernel.parameters(w, SCALE * folded + proven.start, channel_parameters(proven))
        runs = grid.runs(grid.rows)
        return emitted(
            unary(name),
            plan,
            f"CONV_2D {dimensions(layer.shape)} -> {dimensions(layer.output)}",
            "kernels/few_inputs/few_inputs_layer.c.j2",
            arrays=[Array("int32_t", f"{name}_weights", stream, comment).in_lines()],
            kernels=(kernel,),
            kernel=kernel.name,
            tiles=runs[0],
            rest=layer.output.positions - kernel.n if len(runs) > 1 else 0,
            inputs=kernel.inputs,
            outputs=kernel.m,
        )


def _choose(layer: Conv) -> _Chosen | None:
    """None where a precondition fails."""
    window, inputs, m = layer.window, layer.shape.channels, len(layer.weights)
    if window.kernel != (1, 1) or window.stride != (1, 1) or any(window.padding) or layer.groups > 1:
        return None
    if layer.output[:2] != layer.shape[:2] or inputs < LEAST_INPUTS or m < CHANNELS:
        return None
    # As many positions as offsets reach, in tiles of equal size.
    most = min(MOST, 1 + (REACH - CHANNELS) // max(inputs, m))
    if most < 1 or (proven := requantize.prove_multiply_add(layer.requantization, layer.range, SCALE)) is None:
        return None
    positions = layer.output.positions
    n = -(-positions // -(-positions // most))
    kernel = interned(WideTilesKernel(n, inputs, m, Output.of(proven, layer.requantization)))
    return _Chosen(kernel, strips.grid_of(layer, n, layer.shape.width * inputs, False), proven)


FAMILIES = (WideTiles(),)
