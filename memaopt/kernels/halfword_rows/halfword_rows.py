"""CONV_2D of up to eight output channels (in each group) by windows of two taps or more: over rows of halfwords.

Kernels that read bytes where they lie widen each of them again in every window that it is in, and load it as often.
Here some rows are widened once, into a strip, and neighbouring positions of a row share what they load (kernel.py).

Preconditions, checked offline: 256 |acc| < 2^31 for every input, and the requantisation is proven. 256 w fits 16 bits
for every weight.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from memaopt import fixedpoint
from memaopt.access import stores
from memaopt.fixedpoint import Int64Array
from memaopt.kernels import around, strips
from memaopt.kernels.code import Loop, Node
from memaopt.kernels.emitted import Emitted, emitted, unary
from memaopt.kernels.executed import cycles_of
from memaopt.kernels.family import dimensions, pareto
from memaopt.kernels.halfword_rows.kernel import (
    MOST,
    SCALE,
    HalfwordRowsKernel,
    WindowRows,
    at_once,
    left_over,
    most_positions,
)
from memaopt.kernels.halfword_rows.products import Columns, cycles, scheduled
from memaopt.kernels.halfword_rows.widening import Spread, Widened, order_of, widening
from memaopt.kernels.plan import Plan, Promise
from memaopt.kernels.rounding import cleared
from memaopt.kernels.rounding.output import Output, channel_parameters
from memaopt.kernels.rounding.requantize import Proven
from memaopt.kernels.text.c import Array, words_bytes
from memaopt.kernels.text.thumb import REACH
from memaopt.problems.content import interned
from memaopt.problems.layers import Conv

#: By strips, of which GCC writes out few ones: one, three at most, more.
_ONE, _FEW, _FRAME = around.Frame(352, 96), around.Frame(832, 96), around.Frame(480, 96)
_MOST_FEW = 3
_HEIGHTS = (2, 4, 8)  # of a strip, besides all rows
_MOST_STRAIGHT = 8192  # bytes of products
_MOST = 8  # channels of a group: with more of them, chains are faster
_UNROLLS = (4, 3, 2, 1)  # words of a row in a turn of a loop
#: Of the C around kernels, fitted to counts of 150 plans on the virtual board (GCC 12.2 -O3): what is before strips, a
#: strip, a row that is widened or filled, and one of outputs.
_BEFORE, _STRIP, _COPIED = around.Compiled(40, 44), around.Compiled(32, 14), around.Compiled(64, 3)
_FILLED, _ROW = around.Compiled(24, 24), around.Compiled(32, 12)
_BLOCK = 20  # cycles of a block's channels at a tile's positions besides products and outputs, to compare kernels


class _Chosen(NamedTuple):
    """The kernel, what fills its strip, and how it requantises."""

    kernel: HalfwordRowsKernel
    widened: Widened | Spread
    strip: strips.Strip
    proven: Proven


class HalfwordRows:
    """Any window but 1x1, stride, dilation and padding."""

    name = "halfword rows"
    computes = Conv

    def plans(self, layer: Conv) -> tuple[Plan, ...]:
        if len(layer.weights) > _MOST * layer.groups or layer.window.kernel == (1, 1):
            return ()
        height = layer.output.height
        heights = sorted({height, *(rows for rows in _HEIGHTS if rows < height)})
        tried = ((rows, looped) for rows in heights for looped in (False, True))
        return pareto(plan for each in tried if (plan := self._plan(layer, *each)) is not None)

    def _plan(self, layer: Conv, rows: int, looped: bool) -> Plan | None:
        chosen = _choose(layer, rows, looped)
        if chosen is None:
            return None
        kernel, widened, strip, proven = chosen
        heights, copied, filled = strips.strip_rows(layer, strip)
        tiles, rest = divmod(layer.output.width, kernel.n)
        calls = [tiles, *([1] if rest else [])]
        source, output, parameters, stack = kernel.accesses(
            sum(calls) * layer.output.height, len(calls) * layer.output.height
        )
        padded, per = strips.pads(layer), len(heights)
        frame = _ONE if per == 1 else _FEW if per <= _MOST_FEW else _FRAME
        copies = Loop((around.piece(_COPIED), widened.call), copied / per)
        fills = Loop((around.piece(_FILLED), around.fill_words(strip.pitch // 4)), filled / per)
        calling = [node for count in calls for node in (around.piece(around.CALL), kernel.call(count))]
        rows_of = Loop((around.piece(_ROW), *calling), layer.output.height / per)
        code: tuple[Node, ...] = (*around.entry(), around.piece(_BEFORE))
        code += (around.fill_words(strip.bytes // 4),) if padded else ()
        code += (Loop((around.piece(_STRIP), copies, *([fills] if filled else []), rows_of), per),)
        filled_words = (padded * strip.bytes + filled * strip.pitch) // 4
        scratch = widened.target.times(copied) + stores(filled_words, 4) + source
        stack += widened.stack.times(copied)
        return Plan(
            family=self.name,
            tile=f"{kernel.tile}, strips of {rows}",
            cycles=round(cycles_of(code)),
            promise=Promise((widened.source.times(copied),), output, parameters, scratch, stack),
            data_bytes=words_bytes(kernel.words),
            code_bytes=kernel.code_bytes + widened.code_bytes + frame.code,
            scratch_bytes=strip.bytes,
            stack_bytes=kernel.stack_bytes + frame.stack,
            kernels=(kernel.name, widened.name),
            shared_bytes=kernel.code_bytes + widened.code_bytes,
            code=code,
            lead=strips.strip_lead(layer, strip),
            alignment=4,
            requantization=proven.describe(),
            options=(("loop", int(looped)), ("strip", rows)),
        )

    def emit(self, layer: Conv, plan: Plan, name: str) -> Emitted:
        chosen = _choose(layer, plan.option("strip"), bool(plan.option("loop")))
        assert chosen is not None
        kernel, widened, strip, proven = chosen
        comment = "initial accumulators, weights times 256, output stage"
        order = order_of(widened, layer.weights.shape[-1])
        return emitted(
            unary(name),
            plan,
            f"CONV_2D {dimensions(layer.shape)} -> {dimensions(layer.output)}, {layer.window.describe()}",
            "kernels/halfword_rows/halfword_rows_layer.c.j2",
            arrays=[Array("int32_t", f"{name}_weights", _stream(layer, kernel, proven, order), comment).in_lines()],
            kernels=(kernel, widened),
            layer=layer,
            kernel=kernel.name,
            n=kernel.n,
            step=kernel.columns.stride * kernel.rows.step,
            strip=strip,
            padded=strips.pads(layer),
        )


def _choose(layer: Conv, rows: int, looped: bool) -> _Chosen | None:
    """With strips of so many rows of outputs; None where a precondition fails."""
    proven, widened = _proven(layer), widening(layer.shape.width, layer.shape.channels, layer.groups)
    if proven is None or widened is None:
        return None
    window, deep, words = layer.window, len(layer.weights) // layer.groups, -(-layer.weights.shape[-1] // 2)
    step = 4 * words * layer.groups
    strip = _strip(layer, rows, step, widened.name)
    unroll = next(u for u in _UNROLLS if words % u == 0) if looped else 0
    if unroll == words * window.kernel.height:
        return None
    shape, made = WindowRows(window.kernel.height, words, window.dilation.height * strip.pitch, step), []
    for m in (m for m in range(1, MOST + 1) if deep % m == 0):
        for n in range(1, min(most_positions(m), layer.output.width) + 1):
            columns = Columns(n, window.kernel.width, window.stride.width, window.dilation.width)
            count = at_once(shape, columns, unroll)
            products = scheduled(columns, m, left_over(m, n), count)
            reached = columns.last * step + 4 * ((unroll or words) - 1) <= REACH
            if products is not None and reached and (n - 1) * layer.output.channels + deep <= REACH:
                taken = window.kernel.height * words // count * cycles(products) + 4 * m * n + _BLOCK
                made.append((-(-layer.output.width // n) * deep // m * taken, m, n, columns))
    if not made:
        return None
    _, m, _, columns = min(made)
    alone, output = layer.groups == 1, Output.of(proven, layer.requantization)
    groups, blocks = (deep // m, 1) if alone else (layer.groups, deep // m)
    kernel = interned(
        HalfwordRowsKernel(m, groups, blocks, not alone, columns, shape, unroll, output, layer.output.channels)
    )
    if not looped and 4 * blocks * kernel.pieces * cycles(kernel.products) > _MOST_STRAIGHT:
        return None
    return _Chosen(kernel, widened, strip, proven)


def _strip(layer: Conv, rows: int, step: int, copy: str) -> strips.Strip:
    """The strip of halfwords under so many rows of outputs, whose columns are ``step`` bytes apart."""
    window, before = layer.window, layer.window.padding.left
    span = (layer.output.width - 1) * window.stride.width + window.extent.width
    pitch = step * max(before + layer.shape.width, span)
    fill = (layer.input_zero_point & 0xFFFF) * 0x00010001
    return strips.Strip(
        rows=rows,
        stride=window.stride.height,
        reach=window.extent.height,
        pitch=pitch,
        lead=step * before,
        start=0,
        row_bytes=layer.shape.width * layer.shape.channels,
        bytes=((rows - 1) * window.stride.height + window.extent.height) * pitch,
        copy=copy,
        fill=f"{fill:#010x}",
    )


def _stream(layer: Conv, kernel: HalfwordRowsKernel, proven: Proven, order: Int64Array) -> Int64Array:
    """The kernel's parameters in the order in which it reads them, [blocks, words]; ``order`` of a group's channels."""
    m = len(layer.weights)
    w = np.where(proven.constant[:, None, None, None], 0, layer.weights.astype(np.int64))
    folded = np.where(proven.constant, 0, layer.bias - layer.input_zero_point * w.reshape(m, -1).sum(axis=1))
    start, parameters = fixedpoint.wrap_int32(SCALE * folded + proven.start), channel_parameters(proven)
    return np.stack(
        [
            np.concatenate([start[group], kernel.weights(w[group], order), parameters[group].ravel()])
            for group in np.arange(m).reshape(-1, kernel.m)
        ]
    )


@lru_cache(maxsize=256)
def _proven(layer: Conv) -> Proven | None:
    return cleared.prove_multiply_add(layer.requantization, layer.range, SCALE)


FAMILIES = (HalfwordRows(),)
