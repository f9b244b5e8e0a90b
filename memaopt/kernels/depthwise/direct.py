"""DEPTHWISE_CONV_2D straight from NHWC bytes: no planes, no scratch memory, nothing gathered.

A walk goes down a column of one channel with its weights in registers. A row's bytes are loaded, the first two packed
(PKHBT), and meet each output that they feed by SMLAD and SMLABx; an output is finished before its register is needed
again. Inputs are taken as they are: the zero point is in the initial accumulator, so first and last rows have theirs,
and columns whose windows meet the image in the same taps are a set with parameters of its own. Rows of a dilated
window are walked apart.

Preconditions, checked offline: 256 |acc| < 2^31 for every input, and the requantisation is proven: without an addend
(SMMUL) if it can be, for there is no register for one where a row feeds two outputs.
"""

from collections.abc import Iterator
from itertools import groupby

import numpy as np

from memaopt import fixedpoint
from memaopt.fixedpoint import Int64Array
from memaopt.kernels import around
from memaopt.kernels.code import Loop, Node, cycles_of
from memaopt.kernels.depthwise.depthwise import SCALE, pairs_of, prove_multiply, prove_multiply_add
from memaopt.kernels.depthwise.direct_kernel import DirectKernel, MetColumns, Phase
from memaopt.kernels.depthwise.walks import Column, walk_of
from memaopt.kernels.emitted import Emitted, emitted, unary
from memaopt.kernels.family import dimensions, pareto
from memaopt.kernels.plan import Plan, Promise
from memaopt.kernels.rounding.output import Output, channel_parameters
from memaopt.kernels.rounding.requantize import Proven
from memaopt.kernels.text.c import Array, words_bytes
from memaopt.kernels.text.thumb import REACH
from memaopt.problems.content import interned
from memaopt.problems.layers import Depthwise, Layer

_MOST_ROWS = 12  # that straight code is written for without a loop beside it
_UNROLLS = (4, 8)


def _sets(layer: Depthwise) -> tuple[MetColumns, ...]:
    """The columns, by which taps of a row their windows meet."""
    window, channels = layer.window, layer.shape.channels
    starts = [c * window.stride.width - window.padding.left for c in range(layer.output.width)]
    step = window.dilation.width
    met = [
        tuple(k for k in range(window.kernel.width) if 0 <= start + k * step < layer.shape.width) for start in starts
    ]
    sets = []
    for taps, group in groupby(range(len(starts)), key=lambda c: met[c]):
        columns = list(group)
        first = taps[0] if taps else 0
        x = (starts[columns[0]] + first * step) * channels
        steps = (window.stride.width * channels, layer.output.channels)
        sets.append(MetColumns(first, len(taps), len(columns), x, columns[0] * layer.output.channels, *steps))
    return tuple(sets)


def _phases(layer: Depthwise, span: int) -> Iterator[Phase]:
    """Of a dilated window as many as its rows are apart."""
    window, (height, width, channels) = layer.window, layer.shape
    apart = window.dilation.height
    pitch, out_pitch = width * channels, layer.output.width * layer.output.channels
    for phase in range(min(apart, layer.output.height)):
        top = phase - window.padding.top
        above = max(-(top // apart), 0)
        first, outputs = top + apart * above, -(-(layer.output.height - phase) // apart)
        read = (outputs - 1) * window.stride.height + window.kernel.height - above
        column = Column(
            rows=max(min(-(-(height - first) // apart), read), 0),
            above=above,
            stride=window.stride.height,
            outputs=outputs,
            pitch=apart * pitch,
            out_pitch=apart * out_pitch,
            kernel_rows=window.kernel.height,
            span=span,
        )
        yield Phase(first * pitch, phase * out_pitch, column)


class DepthwiseDirect:
    """Windows of up to 3x3, of any stride, and dilated ones without strides along the height."""

    name = "depthwise direct"
    computes = Depthwise

    def plans(self, layer: Layer) -> tuple[Plan, ...]:
        assert isinstance(layer, Depthwise)
        unrolls = (0, *_UNROLLS) if layer.output.height > _MOST_ROWS else (0,)
        plans = [self._plan(layer, unroll) for unroll in unrolls]
        return pareto(plan for plan in plans if plan is not None)

    def _choose(self, layer: Depthwise, unroll: int) -> tuple[DirectKernel, Proven] | None:
        window, without = layer.window, prove_multiply(layer)
        proven = without or prove_multiply_add(layer)
        tap_step = window.dilation.width * layer.shape.channels
        span = (window.kernel.width - 1) * tap_step
        strided = window.dilation.height > 1 and window.stride.height > 1
        if proven is None or max(window.kernel) > 3 or strided or span > REACH:
            return None
        sets, phases = _sets(layer), tuple(_phases(layer, span))
        if not all(s.taps for s in sets) or any(walk_of(phase.column, unroll) is None for phase in phases):
            return None
        output = Output.of(proven, layer.requantization)
        step = int(layer.multiplier == 1)
        zero_point, added = layer.input_zero_point, without is None
        kernel = DirectKernel(
            window, layer.shape.height, tap_step, sets, phases, unroll, step, zero_point, output, added
        )
        if unroll and not any(walk.turns for walk in kernel.walks):
            return None
        return interned(kernel), proven

    def _plan(self, layer: Depthwise, unroll: int) -> Plan | None:
        chosen = self._choose(layer, unroll)
        if chosen is None:
            return None
        kernel, proven = chosen
        calls = layer.shape.channels if layer.multiplier > 1 else 1
        channels = layer.output.channels // calls
        read, output, parameters, stack = (access.times(calls) for access in kernel.accesses(channels))
        call: tuple[Node, ...] = (around.piece(around.CALL), kernel.call(channels))
        code = (*around.entry(), *((Loop(call, calls, kernel.words * channels),) if calls > 1 else call))
        return Plan(
            family=self.name,
            tile="columns" + (f", loop of {unroll}" if unroll else ""),
            cycles=round(cycles_of(code)),
            promise=Promise((read,), output, parameters, stack=stack),
            data_bytes=words_bytes(layer.output.channels * kernel.words),
            code_bytes=kernel.code_bytes + 64,
            scratch_bytes=0,
            stack_bytes=56 + 64,
            kernels=(kernel.name,),
            shared_bytes=kernel.code_bytes,
            code=code,
            requantization=proven.describe(),
            options=(("unroll", unroll),),
        )

    def emit(self, layer: Layer, plan: Plan, name: str) -> Emitted:
        assert isinstance(layer, Depthwise)
        chosen = self._choose(layer, plan.option("unroll"))
        assert chosen is not None
        kernel, proven = chosen
        comment = "parameters of each channel, as the kernel reads them"
        weights = Array("int32_t", f"{name}_weights", _parameters(layer, kernel, proven), comment)
        return emitted(
            unary(name),
            plan,
            f"DEPTHWISE_CONV_2D {dimensions(layer.shape)} -> {dimensions(layer.output)}, {layer.window.describe()}",
            "kernels/depthwise/depthwise_direct_layer.c.j2",
            arrays=[weights.in_lines(4 * kernel.words)],
            kernels=(kernel,),
            layer=layer,
            kernel=kernel.name,
            words=kernel.words,
        )


def _parameters(layer: Depthwise, kernel: DirectKernel, proven: Proven) -> Int64Array:
    """What the kernel reads, [channels, words]."""
    w = SCALE * layer.weights.astype(np.int64).transpose(2, 0, 1)
    w[proven.constant] = 0
    start = np.where(proven.constant, 0, SCALE * layer.bias) + proven.start
    height = layer.window.kernel.height
    blocks = [channel_parameters(proven)[:, 1:]] if kernel.added else []
    for one in kernel.sets:
        taps = w[..., one.first : one.first + one.taps]
        if one.taps > 1:
            blocks.append(pairs_of(taps[..., 0], taps[..., 1]))
        if one.taps % 2:
            alone = np.concatenate([taps[..., -1], np.zeros((len(w), height % 2), np.int64)], axis=1)
            blocks.append(pairs_of(alone[:, ::2], alone[:, 1::2]))
        starts = [
            start - layer.input_zero_point * taps[:, list(met)].sum(axis=(1, 2))
            for met in (tuple(range(height)), *kernel.edges)
        ]
        blocks += [proven.multiplier[:, None], fixedpoint.wrap_int32(np.stack(starts, axis=1))]
    return np.concatenate(blocks, axis=1)


FAMILIES = (DepthwiseDirect(),)
