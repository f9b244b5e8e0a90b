"""CONV_2D 1x1 of two to four or eight channels in: what a position has stays in registers while all channels out pass.

Kernels that go over patches in a tile pay for the tile, for its loads and for decoding chains by the output, which has
few products here. See kernel.py.

Preconditions, checked offline: 256 |acc| < 2^31 for every input, and the requantisation is proven, without an addend
(SMMUL) if it can be; of eight channels in it has to be.
"""

from typing import NamedTuple

import numpy as np

from memaopt.fixedpoint import Int64Array
from memaopt.kernels import around, strips
from memaopt.kernels.code import Node
from memaopt.kernels.emitted import Emitted, emitted, unary
from memaopt.kernels.executed import cycles_of
from memaopt.kernels.family import dimensions, pareto
from memaopt.kernels.few_inputs.kernel import EIGHT, LEAST, MOST, SCALE, FewInputsKernel, most_positions
from memaopt.kernels.plan import Plan, Promise
from memaopt.kernels.rounding.bytes_of import byte_rounding
from memaopt.kernels.rounding.requantize import Proven
from memaopt.kernels.text.c import Array, words_bytes
from memaopt.kernels.text.thumb import REACH
from memaopt.problems.content import interned
from memaopt.problems.layers import Conv

_FRAME = around.Frame(72, 24)
_MOST_STRAIGHT = 32  # channels
_UNROLLS = range(8, 0, -1)


class _Chosen(NamedTuple):
    """The kernel, its positions, and how it requantises."""

    kernel: FewInputsKernel
    grid: strips.Grid
    proven: Proven


class FewInputs:
    """Windows of 1x1 without strides, at every position of the image."""

    name = "few inputs"
    computes = Conv

    def plans(self, layer: Conv) -> tuple[Plan, ...]:
        window, inputs = layer.window, layer.shape.channels
        if not (LEAST <= inputs <= MOST or inputs == EIGHT):
            return ()
        if layer.groups > 1 or layer.output[:2] != layer.shape[:2]:
            return ()
        if window.kernel != (1, 1) or window.stride != (1, 1) or any(window.padding):
            return ()
        return pareto(plan for looped in (False, True) if (plan := self._plan(layer, looped)) is not None)

    def _choose(self, layer: Conv, looped: bool) -> _Chosen | None:
        found = byte_rounding(layer.requantization, layer.range, SCALE)
        inputs, m = layer.shape.channels, len(layer.weights)
        if found is None or (not looped and m > _MOST_STRAIGHT):
            return None
        (proven, output), added = found, found.added
        if inputs == EIGHT and (looped or added):
            return None
        n, count = min(most_positions(inputs, output, added), (REACH - m) // m + 1), layer.output.positions
        n = n // 2 * 2 if inputs == LEAST else n
        unroll = next(u for u in _UNROLLS if m % u == 0) if looped else 0
        if not 0 < n <= count or unroll == m:
            return None
        kernel = interned(FewInputsKernel(inputs, n, m, unroll, output, added))
        return _Chosen(kernel, strips.grid_of(layer, n, layer.shape.width * inputs, False), proven)

    def _plan(self, layer: Conv, looped: bool) -> Plan | None:
        chosen = self._choose(layer, looped)
        if chosen is None:
            return None
        kernel, grid, proven = chosen
        runs = grid.runs(grid.rows)
        source, output, parameters, stack = kernel.accesses(sum(runs), len(runs))
        code: tuple[Node, ...] = around.entry()
        for tiles in runs:
            code += (around.piece(around.CALL), kernel.call(tiles))
        return Plan(
            family=self.name,
            tile=kernel.tile,
            cycles=round(cycles_of(code) + _unaligned(layer, grid)),
            promise=Promise((source,), output, parameters, stack=stack),
            data_bytes=words_bytes(kernel.m * kernel.words),
            code_bytes=kernel.code_bytes + _FRAME.code,
            stack_bytes=kernel.stack_bytes + _FRAME.stack,
            kernels=(kernel.name,),
            shared_bytes=kernel.code_bytes,
            code=code,
            lead=strips.tiles_lead(layer, grid),
            alignment=4,
            requantization=proven.describe(),
            fpu=True if kernel.held else None,
            options=(("looped", int(looped)),),
        )

    def emit(self, layer: Conv, plan: Plan, name: str) -> Emitted:
        chosen = self._choose(layer, bool(plan.option("looped")))
        assert chosen is not None
        kernel, grid, proven = chosen
        comment = "of each channel: start, weights times 256, output stage"
        parameters = Array("int32_t", f"{name}_weights", _parameters(layer, kernel, proven), comment)
        runs, count = grid.runs(grid.rows), layer.output.positions
        return emitted(
            unary(name),
            plan,
            f"CONV_2D {dimensions(layer.shape)} -> {dimensions(layer.output)}",
            "kernels/few_inputs/few_inputs_layer.c.j2",
            arrays=[parameters.in_lines()],
            kernels=(kernel,),
            kernel=kernel.name,
            tiles=runs[0],
            rest=count - kernel.n if len(runs) > 1 else 0,
            inputs=kernel.inputs,
            outputs=kernel.m,
        )


def _unaligned(layer: Conv, grid: strips.Grid) -> int:
    """Cycles of loads at no multiple of 4."""
    inputs, n = layer.shape.channels, grid.n
    if inputs % 4 == 0:
        return 0
    offsets = 2 * np.arange(0, n, 2) if inputs == LEAST else inputs * np.arange(n)
    if inputs == MOST - 1:
        offsets[-1] -= 1
    return around.unaligned_words(inputs * np.array(grid.starts(grid.rows))[:, None] + offsets)


def _parameters(layer: Conv, kernel: FewInputsKernel, proven: Proven) -> Int64Array:
    """What the kernel reads."""
    w = layer.weights.reshape(kernel.m, -1).astype(np.int64)
    w = np.where(proven.constant[:, None], 0, w)
    folded = np.where(proven.constant, 0, layer.bias - layer.input_zero_point * w.sum(axis=1))
    rounding = [proven.multiplier, *([proven.addend] if kernel.added else [])]
    rounding += [] if proven.negative is None else [proven.negative]
    return kernel.parameters(w, SCALE * folded + proven.start, rounding)


FAMILIES = (FewInputs(),)
