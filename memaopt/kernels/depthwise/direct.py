"""DEPTHWISE_CONV_2D straight from NHWC bytes: no planes, no scratch memory, nothing gathered.

A walk goes down a column of one channel, or along a row, with its weights in registers. A row's bytes are loaded, the
first two packed (PKHBT), and meet each output that they feed by SMLAD and SMLABx; an output is finished before its
register is needed again. Inputs are taken as they are: the zero point is in the initial accumulator, so first and last
rows have theirs, and columns whose windows meet the image in the same taps are a set with parameters of its own. Rows
of a dilated window are walked apart.

Where an output is finished before the next one begins (two rows, or strides), a few columns are walked at once, which
share inputs (side_by_side.py).

Preconditions, checked offline: 256 |acc| < 2^31 for every input, and the requantisation is proven: without an addend
(SMMUL) if it can be, for there is no register for one where a row feeds two outputs. Outputs by sign have what negative
accumulators add in the upper half of a word of weights, so that SMLABx by 0 or -1 adds it to the addend; of a window of
3x3 the addend takes the register of initial accumulators, which then lie on the stack.
"""

from collections.abc import Iterator
from itertools import groupby
from typing import NamedTuple

import numpy as np

from memaopt import fixedpoint
from memaopt.access import Access
from memaopt.fixedpoint import Int64Array
from memaopt.kernels import around
from memaopt.kernels.code import Loop, Node
from memaopt.kernels.depthwise.depthwise import SCALE, pairs_of, prove
from memaopt.kernels.depthwise.descent import Column, walk_of
from memaopt.kernels.depthwise.direct_kernel import DirectKernel, MetColumns, Phase, phases_of
from memaopt.kernels.emitted import Emitted, emitted, unary
from memaopt.kernels.executed import cycles_of
from memaopt.kernels.family import dimensions, pareto
from memaopt.kernels.plan import Plan, Promise
from memaopt.kernels.rounding.output import Output, channel_parameters
from memaopt.kernels.rounding.requantize import Proven
from memaopt.kernels.text.c import Array, words_bytes
from memaopt.kernels.text.thumb import REACH
from memaopt.problems.content import interned
from memaopt.problems.geometry import Image, Padding, Pair, Window
from memaopt.problems.layers import Depthwise

_MOST_ROWS = 12  # that straight code is written for without a loop beside it
_UNROLLS = (4, 8)
_MOST_APART = 8  # likewise, with a kernel for each set of columns
_FEW_CHANNELS = 16  # for fewer, kernels of their own for each set of columns are not worth their code
_ACROSS = (1, 2, 3)  # columns that are walked at once
_MOST_IN_LINE = 5  # rows of a window one tap wide
_FRAME = around.Frame(72, 64)
_LOOP = 4  # bytes of code more of a call for each input channel
_STACK = 56  # of a kernel: r4 to r11, lr and five words


class View(NamedTuple):
    """A layer as the walk sees it: rows are where it goes along, the image's own or (``turned``) its columns.

    Bytes from a row of the input to the next, from a column to the next, and the same of the output.
    """

    window: Window
    shape: Image
    output: Image
    row: int
    column: int
    out_row: int
    out_column: int


def view_of(layer: Depthwise, turned: bool) -> View:
    window, shape, output = layer.window, layer.shape, layer.output
    row, out_row = shape.width * shape.channels, output.width * output.channels
    if not turned:
        return View(window, shape, output, row, shape.channels, out_row, output.channels)
    other = Window(
        Pair(*window.kernel[::-1]),
        Pair(*window.stride[::-1]),
        Pair(*window.dilation[::-1]),
        Padding(window.padding.left, window.padding.top),
    )
    turned_shape = Image(shape.width, shape.height, shape.channels)
    turned_output = Image(output.width, output.height, output.channels)
    return View(other, turned_shape, turned_output, shape.channels, row, output.channels, out_row)


def sets_of(view: View) -> tuple[MetColumns, ...]:
    """The columns, by which taps of a row their windows meet."""
    window = view.window
    starts = [c * window.stride.width - window.padding.left for c in range(view.output.width)]
    step = window.dilation.width
    met = [tuple(k for k in range(window.kernel.width) if 0 <= start + k * step < view.shape.width) for start in starts]
    sets = []
    for taps, group in groupby(range(len(starts)), key=lambda c: met[c]):
        columns = list(group)
        first = taps[0] if taps else 0
        x = (starts[columns[0]] + first * step) * view.column
        steps = (window.stride.width * view.column, view.out_column)
        sets.append(MetColumns(first, len(taps), len(columns), x, columns[0] * view.out_column, *steps))
    return tuple(sets)


def side_by_side(one: MetColumns, across: int) -> Iterator[MetColumns]:
    """The columns as they are walked so many at once; then those that are left."""
    rest = one.columns % across if one.columns >= across else 0
    wide = one._replace(columns=one.columns - rest, across=min(across, one.columns))
    yield wide
    if rest:
        x, y = (wide.columns * step for step in (one.x_step, one.y_step))
        yield one._replace(columns=rest, across=rest, x=one.x + x, y=one.y + y)


def phases_in(view: View, span: int, out_span: int = 0) -> Iterator[Phase]:
    """Of a dilated window as many as its rows are apart, but for what strides leave out: where output o reads the rows
    s o + d k, those that read the same ones are d / gcd(s, d) apart."""
    window, height = view.window, view.shape.height
    apart, step = window.dilation.height, phases_of(window)
    for phase in range(min(step, view.output.height)):
        top = phase * window.stride.height - window.padding.top
        above = max(-(top // apart), 0)
        first, outputs = top + apart * above, -(-(view.output.height - phase) // step)
        stride = window.stride.height * step // apart
        read = (outputs - 1) * stride + window.kernel.height - above
        column = Column(
            rows=max(min(-(-(height - first) // apart), read), 0),
            above=above,
            stride=stride,
            outputs=outputs,
            pitch=apart * view.row,
            out_pitch=step * view.out_row,
            kernel_rows=window.kernel.height,
            span=span,
            out_span=out_span,
        )
        yield Phase(first * view.row, phase * view.out_row, column)


class _Chosen(NamedTuple):
    """One kernel for all columns, or one for each set of them, whose loops a small cache of instructions holds."""

    kernels: tuple[DirectKernel, ...]
    proven: Proven


class DepthwiseDirect:
    """Windows of up to 3x3, or up to 5 in a line, of any stride and dilation."""

    name = "depthwise direct"
    computes = Depthwise

    def plans(self, layer: Depthwise) -> tuple[Plan, ...]:
        longer = layer.output.width > layer.output.height
        first = self._plans(layer, turned=longer)
        # A line either way; else where taps of the longer side's rows lie too far apart.
        either = first if min(layer.window.kernel) > 1 else ()
        made = either or (*first, *self._plans(layer, turned=not longer))
        # Apart they take more cycles and bytes, and wait less for flash.
        return tuple(p for apart in (0, 1) for p in pareto(p for p in made if p.option("apart") == apart))

    def _plans(self, layer: Depthwise, turned: bool) -> tuple[Plan, ...]:
        along = layer.output.width if turned else layer.output.height
        unrolls = (0, *_UNROLLS) if along > _MOST_ROWS else (0,)
        apart = (unroll for unroll in unrolls if unroll or along <= _MOST_APART)
        tried = [*((unroll, False) for unroll in unrolls), *((unroll, True) for unroll in apart)]
        made = (self._plan(layer, turned, *each, across) for each in tried for across in _ACROSS)
        return tuple(plan for plan in made if plan is not None)

    def _choose(self, layer: Depthwise, turned: bool, unroll: int, apart: bool, across: int) -> _Chosen | None:
        view, found = view_of(layer, turned), prove(layer)
        window = view.window
        tap_step, beside = window.dilation.width * view.column, (across - 1) * view.out_column
        span = (window.kernel.width - 1) * tap_step + (across - 1) * window.stride.width * view.column
        if found is None or window.kernel.width > 3 or span > REACH:
            return None
        if window.kernel.height > (_MOST_IN_LINE if window.kernel.width == 1 else 3):
            return None
        if across > 1 and (window.dilation.width > 1 or across > view.output.width or beside > REACH):
            return None
        sets = tuple(part for one in sets_of(view) for part in side_by_side(one, across))
        phases = tuple(phases_in(view, span, beside))
        if not all(s.taps for s in sets) or any(walk_of(phase.column, unroll) is None for phase in phases):
            return None
        if apart and (len(sets) == 1 or layer.output.channels < _FEW_CHANNELS):
            return None
        proven, added = found
        output = Output.of(proven, layer.requantization)
        step, zero_point = int(layer.multiplier == 1), layer.input_zero_point
        halved = not unroll and proven.negative is not None and bool((abs(proven.negative) < 1 << 15).all())
        rounding = output, added, halved
        kernels = tuple(
            interned(DirectKernel(window, view.shape.height, tap_step, s, phases, unroll, step, zero_point, *rounding))
            for s in ([(one,) for one in sets] if apart else [sets])
        )
        if unroll and not any(walk.turns for walk in kernels[0].walks):
            return None
        # Each column has one accumulator, and what negative ones add is no load.
        if across > 1 and (phases[0].column.live > 1 or (output.by_sign and not halved)):
            return None
        if not all(kernel.fits for kernel in kernels):
            return None
        return _Chosen(kernels, proven)

    def _plan(self, layer: Depthwise, turned: bool, unroll: int, apart: bool, across: int) -> Plan | None:
        chosen = self._choose(layer, turned, unroll, apart, across)
        if chosen is None:
            return None
        kernels, proven = chosen
        calls = layer.shape.channels if layer.multiplier > 1 else 1
        channels = layer.output.channels // calls
        accesses = [kernel.accesses(channels) for kernel in kernels]
        read, output, parameters, stack = (sum(each, Access()).times(calls) for each in zip(*accesses, strict=True))
        code: tuple[Node, ...] = around.entry()
        for kernel in kernels:
            call: tuple[Node, ...] = (around.piece(around.CALL), kernel.call(channels))
            code += (Loop(call, calls, kernel.words * channels),) if calls > 1 else call
        code_bytes = sum(kernel.code_bytes for kernel in kernels)
        tile = "rows" if turned else "columns"
        return Plan(
            family=self.name,
            tile=tile
            + (f" by {across}" if across > 1 else "")
            + (f", loop of {unroll}" if unroll else "")
            + (", by sets" if apart else ""),
            cycles=round(cycles_of(code)),
            promise=Promise((read,), output, parameters, stack=stack),
            data_bytes=words_bytes(layer.output.channels * sum(kernel.words for kernel in kernels)),
            code_bytes=code_bytes + _FRAME.code + (around.CALL.size + _LOOP * (calls > 1)) * len(kernels),
            scratch_bytes=0,
            stack_bytes=_STACK + _FRAME.stack,
            kernels=tuple(sorted(kernel.name for kernel in kernels)),
            shared_bytes=code_bytes,
            code=code,
            requantization=proven.describe(),
            options=(("across", across), ("apart", int(apart)), ("turned", int(turned)), ("unroll", unroll)),
        )

    def emit(self, layer: Depthwise, plan: Plan, name: str) -> Emitted:
        turned, apart = bool(plan.option("turned")), bool(plan.option("apart"))
        chosen = self._choose(layer, turned, plan.option("unroll"), apart, plan.option("across"))
        assert chosen is not None
        kernels, proven = chosen
        comment = "parameters of each channel, as the kernel reads them"
        words = [_parameters(layer, turned, kernel, proven).ravel() for kernel in kernels]
        weights = Array("int32_t", f"{name}_weights", np.concatenate(words), comment)
        starts = np.cumsum([0, *(len(part) for part in words)]).tolist()
        return emitted(
            unary(name),
            plan,
            f"DEPTHWISE_CONV_2D {dimensions(layer.shape)} -> {dimensions(layer.output)}, {layer.window.describe()}",
            "kernels/depthwise/depthwise_direct_layer.c.j2",
            arrays=[weights.in_lines(4 * kernels[0].words)],
            kernels=kernels,
            layer=layer,
            calls=[(kernel.name, start, kernel.words) for kernel, start in zip(kernels, starts[:-1], strict=True)],
        )


def _parameters(layer: Depthwise, turned: bool, kernel: DirectKernel, proven: Proven) -> Int64Array:
    """What the kernel reads, [channels, words]."""
    w = SCALE * layer.weights.astype(np.int64).transpose((2, 1, 0) if turned else (2, 0, 1))
    w[proven.constant] = 0
    start = np.where(proven.constant, 0, SCALE * layer.bias) + proven.start
    height = w.shape[1]
    blocks = [channel_parameters(proven)[:, 1 : 1 + kernel.added_words]] if kernel.added else []
    negative = np.zeros((len(w), 1), np.int64) if proven.negative is None else -proven.negative[:, None]
    for one in kernel.sets:
        taps = w[..., one.first : one.first + one.taps]
        if one.taps > 1:
            blocks.append(pairs_of(taps[..., 0], taps[..., 1]))
        if one.taps % 2:
            half = (negative if kernel.halved else np.zeros_like(negative))[:, : height % 2]
            alone = np.concatenate([taps[..., -1], half], axis=1)
            blocks.append(pairs_of(alone[:, ::2], alone[:, 1::2]))
        if kernel.halved and not kernel.has_half(one.taps):
            blocks.append(pairs_of(np.zeros_like(negative), negative))
        starts = [
            start - layer.input_zero_point * taps[:, list(met)].sum(axis=(1, 2))
            for met in (tuple(range(height)), *kernel.edges)
        ]
        blocks += [proven.multiplier[:, None], fixedpoint.wrap_int32(np.stack(starts, axis=1))]
    return np.concatenate(blocks, axis=1)


FAMILIES = (DepthwiseDirect(),)
