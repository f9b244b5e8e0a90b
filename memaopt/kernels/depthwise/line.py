"""DEPTHWISE_CONV_2D of three or five taps in a line straight from NHWC bytes: as direct.py, with two inputs in a word.

A line of one channel is walked with its weights in registers. Two neighbouring inputs are packed (PKHBT), so that an
output is one SMLAD or two and one SMLABx; inputs beyond the image are the zero point, of which an output's initial
accumulator has taken all. Of a dilated line those that share inputs are walked apart, and strides may leave some of
them out (direct.py). Outputs with clamps are made as their distance to the least one, so that USAT has that clamp.

Preconditions, checked offline: those of direct.py; what negative accumulators add to the addend fits 16 bits.
"""

import numpy as np

from memaopt import fixedpoint
from memaopt.fixedpoint import Int64Array
from memaopt.kernels import around
from memaopt.kernels.code import Loop, Node
from memaopt.kernels.depthwise.depthwise import SCALE, pairs_of
from memaopt.kernels.depthwise.direct import phases_in, sets_of, view_of
from memaopt.kernels.depthwise.line_form import LEAST_TAPS, MOST_TAPS, NONE, way_of
from memaopt.kernels.depthwise.line_kernel import LineKernel
from memaopt.kernels.emitted import Emitted, emitted, unary
from memaopt.kernels.executed import cycles_of
from memaopt.kernels.family import dimensions, pareto
from memaopt.kernels.plan import Plan, Promise
from memaopt.kernels.rounding.bytes_of import ByteRounding, byte_rounding
from memaopt.kernels.rounding.requantize import Proven
from memaopt.kernels.text.c import Array, words_bytes
from memaopt.problems.content import interned
from memaopt.problems.layers import Depthwise

_MOST_STRAIGHT = 12  # outputs of a line, without a loop beside the straight code
_MOST_PITCH = 1 << 19
_STACK = 64  # of a kernel: r4 to r11, lr and seven words
_FRAME = around.Frame(92, 64)


class DepthwiseLine:
    """Windows of 3x1, 1x3, 5x1 and 1x5, of any dilation, and strides that are 1 or 2 beyond it."""

    name = "depthwise line"
    computes = Depthwise

    def plans(self, layer: Depthwise) -> tuple[Plan, ...]:
        across, taps = sorted(layer.window.kernel)
        if across > 1 or taps not in (LEAST_TAPS, MOST_TAPS):
            return ()
        turned = layer.window.kernel.width == taps
        return pareto(p for unroll in (0, 1) if (p := self._plan(layer, turned, bool(unroll))) is not None)

    def _choose(self, layer: Depthwise, turned: bool, looped: bool) -> tuple[LineKernel, Proven] | None:
        view, rounding = view_of(layer, turned), _rounding(layer)
        sets, taps = sets_of(view), view.window.kernel.height
        if rounding is None or len(sets) > 1 or not sets[0].taps:
            return None
        phases = tuple(phases_in(view, 0))
        columns = [phase.column for phase in phases]
        first, met = columns[0], [column for column in columns if column.rows and column.above < taps]
        if first.stride > 2 or met != columns or max(first.pitch, first.out_pitch) > _MOST_PITCH:
            return None
        if any((column.outputs - 1) * column.stride >= column.above + column.rows for column in columns):
            return None  # an output that meets no input
        one, proven = sets[0], rounding.proven
        form = way_of(taps, first.stride, rounding.output)
        if looped and max(column.outputs for column in columns) <= _MOST_STRAIGHT:
            return None
        kernel = LineKernel(
            taps,
            phases,
            one.columns,
            one.x,
            one.x_step,
            one.y_step,
            int(layer.multiplier == 1),
            2 // form.ahead(taps) * form.period(taps) if looped else 0,
            layer.input_zero_point,
            rounding.output,
            rounding.added,
        )
        if looped and not any(line.turns for line in kernel.code):
            return None
        return interned(kernel), proven

    def _plan(self, layer: Depthwise, turned: bool, looped: bool) -> Plan | None:
        chosen = self._choose(layer, turned, looped)
        if chosen is None:
            return None
        kernel, proven = chosen
        calls = layer.shape.channels if layer.multiplier > 1 else 1
        channels = layer.output.channels // calls
        read, output, parameters, stack = (access.times(calls) for access in kernel.accesses(channels))
        call: tuple[Node, ...] = (around.piece(around.CALL), kernel.call(channels))
        code: tuple[Node, ...] = around.entry()
        code += (Loop(call, calls, kernel.words * channels),) if calls > 1 else call
        return Plan(
            family=self.name,
            tile=("rows" if turned else "columns") + (f", loop of {kernel.unroll}" if looped else ""),
            cycles=round(cycles_of(code)),
            promise=Promise((read,), output, parameters, stack=stack),
            data_bytes=words_bytes(layer.output.channels * kernel.words),
            code_bytes=kernel.code_bytes + _FRAME.code,
            scratch_bytes=0,
            stack_bytes=_STACK + _FRAME.stack,
            kernels=(kernel.name,),
            shared_bytes=kernel.code_bytes,
            code=code,
            requantization=proven.describe(),
            options=(("looped", int(looped)), ("turned", int(turned))),
        )

    def emit(self, layer: Depthwise, plan: Plan, name: str) -> Emitted:
        chosen = self._choose(layer, bool(plan.option("turned")), bool(plan.option("looped")))
        assert chosen is not None
        kernel, proven = chosen
        comment = "parameters of each channel, as the kernel reads them"
        weights = Array("int32_t", f"{name}_weights", _parameters(layer, kernel, proven).ravel(), comment)
        return emitted(
            unary(name),
            plan,
            f"DEPTHWISE_CONV_2D {dimensions(layer.shape)} -> {dimensions(layer.output)}, {layer.window.describe()}",
            "kernels/depthwise/depthwise_direct_layer.c.j2",
            arrays=[weights.in_lines(4 * kernel.words)],
            kernels=(kernel,),
            layer=layer,
            calls=[(kernel.name, 0, kernel.words)],
        )


def _rounding(layer: Depthwise) -> ByteRounding | None:
    """None if no rounding is found, or none without clamps of their own and whose addends of negative accumulators fit
    half a word."""
    found = byte_rounding(layer.requantization, layer.range, SCALE)
    if found is None or found.output.clamps:
        return None
    negative = found.proven.negative
    return None if negative is not None and bool((abs(negative) >= 1 << 15).any()) else found


def _parameters(layer: Depthwise, kernel: LineKernel, proven: Proven) -> Int64Array:
    """What the kernel reads, [channels, words]."""
    w = SCALE * layer.weights.astype(np.int64).reshape(kernel.taps, -1)
    w[:, proven.constant] = 0
    start = np.where(proven.constant, 0, SCALE * layer.bias) + proven.start - layer.input_zero_point * w.sum(axis=0)
    negative = np.zeros_like(start) if proven.negative is None else -proven.negative
    halves = [[negative if tap == NONE else w[tap] for tap in pair] for pair in kernel.pairs]
    pairs = [pairs_of(*pair) for pair in halves]
    addends = [proven.addend] if kernel.added else []
    return np.stack([*pairs, proven.multiplier, *addends, fixedpoint.wrap_int32(start)], axis=1)


FAMILIES = (DepthwiseLine(),)
