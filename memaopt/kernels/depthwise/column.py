"""DEPTHWISE_CONV_2D of windows that lie in memory as rows of all channels, straight from the image's bytes.

Where a window is as wide as its image, its taps are rows of C bytes a fixed distance apart: signals over time, and
their pushes of one position. Four channels a turn: two taps' words become the taps in pairs, channel by channel (PKHBT,
PKHTB, then SXTB16), and meet the weights in pairs; an odd tap meets its own. Weights are 256 w and stream past once a
position. The bias and the zero point's share are in the initial accumulator, and so is the rounding constant where
SMMUL does without an addend.

Preconditions, checked offline: 256 |acc| < 2^31 for every input, the requantisation is proven, and no tap is padding.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from memaopt.access import loads, stores
from memaopt.fixedpoint import Int64Array, wrap_int32
from memaopt.kernels import around
from memaopt.kernels.chained_rows.chains import Loads
from memaopt.kernels.code import Call, Constants, Loop
from memaopt.kernels.depthwise.depthwise import SCALE, pairs_of, prove
from memaopt.kernels.emitted import Emitted, emitted, unary
from memaopt.kernels.executed import cycles_of
from memaopt.kernels.executed import words_of as code_words
from memaopt.kernels.family import data_bytes, dimensions
from memaopt.kernels.plan import Plan, Promise, saved
from memaopt.kernels.rounding.output import Output, channel_parameters
from memaopt.kernels.rounding.requantize import Proven
from memaopt.kernels.text.c import Array, short_name, words_bytes
from memaopt.kernels.text.templates import render
from memaopt.kernels.text.thumb import REACH
from memaopt.problems.layers import Depthwise, Layer

GROUP = 4  # channels a turn
_SUMS = ("r4", "r5", "r6", "r7")
_FREE = ("r8", "r9", "r10", "r11", "r12")
_SPARE = "r2"
_SAVED = 9  # r4 to r11 and lr
_FRAME = around.Frame(60, 24)


@dataclass(frozen=True)
class ColumnKernel:
    """The assembly that layers share: ``taps`` rows, ``step`` bytes apart, of four channels a turn.

    ``adds``: the output stage has addends.
    """

    taps: int
    step: int
    output: Output
    adds: bool

    #: The weights, once from the first to the last.
    constants = (Constants("lr", "r2"),)

    @property
    def name(self) -> str:
        return short_name("depthwise_column", self.details)

    @property
    def details(self) -> str:
        """What tells kernels apart."""
        return f"{self.taps} taps {self.step} bytes apart, {'' if self.adds else 'bare '}rounding {self.output.slug}"

    @property
    def weights(self) -> int:
        """Words of weights in a turn."""
        return self.taps // 2 * GROUP + self.taps % 2 * (GROUP // 2)

    @property
    def words(self) -> int:
        """Words of parameters in a turn: initial accumulators, weights, output stage."""
        return GROUP + self.weights + GROUP * self.stage

    @property
    def stage(self) -> int:
        """Words of a channel's output stage."""
        return self.output.words if self.adds else 1

    @cached_property
    def lines(self) -> list[str]:
        """The multiply-accumulates of a turn: products of r0's rows and lr's weights."""
        rows = [f"[r0, #{i * self.step}]" for i in range(self.taps)]
        weights = [f"[lr, #{4 * (GROUP + i)}]" for i in range(self.weights)]
        wanted, at = [], 0
        for first in range(0, self.taps, 2):
            pair = rows[first : first + 2]
            count = 2 * len(pair)
            wanted += [*pair, *weights[at : at + count]]
            at += count
        held, at = Loads(wanted, _FREE), 0
        for first in range(0, self.taps - 1, 2):
            self._pair(held, rows[first], rows[first + 1], weights[at : at + GROUP])
            at += GROUP
        if self.taps % 2:
            self._alone(held, rows[-1], weights[at:])
        return held.lines

    def _pair(self, held: Loads, upper: str, lower: str, weights: list[str]) -> None:
        """Two taps of four channels."""
        a, b, t = held.need(upper), held.need(lower), _SPARE
        held.lines += [f"pkhbt {t}, {a}, {b}, lsl #16", f"pkhtb {b}, {b}, {a}, asr #16", f"sxtb16 {a}, {t}"]
        held.lines.append(f"sxtb16 {t}, {t}, ror #8")
        for channel, (acc, weight) in enumerate(zip(_SUMS, weights, strict=True)):
            if channel == 2:
                held.lines += [f"sxtb16 {t}, {b}", f"sxtb16 {b}, {b}, ror #8"]
            x = (a, t, t, b)[channel]
            held.lines.append(f"smlad {acc}, {x}, {held.need(weight)}, {acc}")
            held.done(weight)
            if channel == 0:
                held.done(upper)
        held.done(lower)

    def _alone(self, held: Loads, row: str, weights: list[str]) -> None:
        """The last tap, where their number is odd: channels 0 and 2 are in one word, 1 and 3 in the other."""
        a, t = held.need(row), _SPARE
        held.lines += [f"sxtb16 {t}, {a}", f"sxtb16 {a}, {a}, ror #8"]
        for weight, x, (first, second) in zip(weights, (t, a), (("r4", "r6"), ("r5", "r7")), strict=True):
            w = held.need(weight)
            held.lines += [f"smlabb {first}, {x}, {w}, {first}", f"smlatt {second}, {x}, {w}, {second}"]
            held.done(weight)
        held.done(row)

    def call(self, turns: float) -> Call:
        """A call for so many times four channels."""
        return Call(self, (turns,), (float(self.words),))

    def cycles(self, turns: int) -> float:
        """One call."""
        return cycles_of((self.call(turns),))

    @cached_property
    def code_bytes(self) -> int:
        """Of the kernel; its instructions are 4 bytes long."""
        return 4 * code_words(self.call(1))

    def text(self, attribute: str = "") -> str:
        """The kernel's C text; ``attribute`` says where it lies."""
        return render(
            "kernels/depthwise/depthwise_column.c.j2",
            name=self.name,
            attribute=attribute,
            kernel=self,
            details=self.details,
            group=GROUP,
            sums=_SUMS,
            parameters=GROUP + self.weights,
            q=self.output,
        )


class DepthwiseColumn:
    """Windows as wide as their image, without padding; channels by four."""

    name = "depthwise column"
    computes = Depthwise

    def plans(self, layer: Layer) -> tuple[Plan, ...]:
        assert isinstance(layer, Depthwise)
        chosen = _choose(layer)
        if chosen is None:
            return ()
        kernel, proven = chosen
        positions, turns = layer.output.height, layer.output.channels // GROUP
        calls = positions * turns
        code = (around.piece(around.CALL), kernel.call(turns))
        cycles = around.ENTRY.cycles + positions * (kernel.cycles(turns) + around.CALL.cycles)
        promise = Promise(
            (loads(kernel.taps * calls, 4),),
            stores(GROUP * calls, 1),
            loads(kernel.words * calls, 4),
            stack=saved(_SAVED).times(positions),
        )
        return (
            Plan(
                family=self.name,
                tile=f"{GROUP} channels",
                cycles=round(cycles),
                promise=promise,
                data_bytes=words_bytes(turns * kernel.words),
                code_bytes=kernel.code_bytes + _FRAME.code,
                stack_bytes=4 * _SAVED + _FRAME.stack,
                kernels=(kernel.name,),
                shared_bytes=kernel.code_bytes,
                code=(*around.entry(), Loop(code, positions)),
                alignment=4,
                requantization=proven.describe(),
            ),
        )

    def emit(self, layer: Layer, plan: Plan, name: str) -> Emitted:
        assert isinstance(layer, Depthwise)
        chosen = _choose(layer)
        assert chosen is not None
        kernel, proven = chosen
        comment = "four channels at a time: initial accumulators, weights in pairs, output stage"
        weights = Array("int32_t", f"{name}_weights", _parameters(layer, kernel, proven), comment)
        arrays = [weights] if layer.output.height == 1 else [weights.in_lines()]
        assert data_bytes(arrays) == plan.data_bytes
        return emitted(
            unary(name),
            plan,
            f"DEPTHWISE_CONV_2D {dimensions(layer.shape)} -> {dimensions(layer.output)}, {layer.window.describe()}",
            "kernels/depthwise/depthwise_column_layer.c.j2",
            arrays=arrays,
            kernels=(kernel,),
            kernel=kernel.name,
            positions=layer.output.height,
            advance=layer.window.stride.height * layer.shape.width * layer.shape.channels,
            channels=layer.output.channels,
            turns=layer.output.channels // GROUP,
        )


def _choose(layer: Depthwise) -> tuple[ColumnKernel, Proven] | None:
    """The kernel, None where a precondition fails."""
    window, (height, width, channels), positions = layer.window, layer.shape, layer.output.height
    across = width == window.kernel.width and (width == 1 or window.dilation == (1, 1))
    inside = not any(window.padding) and (positions - 1) * window.stride.height + window.extent.height <= height
    if not across or not inside or layer.output.width != 1 or layer.multiplier > 1 or channels % GROUP:
        return None
    taps, step = window.kernel.height * window.kernel.width, window.dilation.height * channels
    found = prove(layer)
    if found is None or taps < 2 or (taps - 1) * step > REACH:
        return None
    proven, adds = found
    kernel = ColumnKernel(taps, step, Output.of(proven, layer.requantization), adds)
    return (kernel, proven) if 4 * kernel.words <= REACH else None


def _parameters(layer: Depthwise, kernel: ColumnKernel, proven: Proven) -> Int64Array:
    """What the kernel reads, turn by turn: [turns, words]."""
    channels = layer.output.channels
    w = layer.weights.astype(np.int64).reshape(kernel.taps, channels)
    # A bare stage has nothing but the accumulator for an output that no input changes.
    w = SCALE * np.where(proven.constant, 0, w)
    bias = np.where(proven.constant, 0, SCALE * layer.bias)
    start = wrap_int32(bias + proven.start - layer.input_zero_point * w.sum(axis=0))
    even = kernel.taps // 2 * 2
    pairs = pairs_of(w[0:even:2], w[1:even:2]).reshape(-1, channels // GROUP, GROUP)
    blocks = [start.reshape(-1, GROUP), *pairs]
    if kernel.taps % 2:
        last = w[-1].reshape(-1, GROUP)
        blocks.append(pairs_of(last[:, :2], last[:, 2:]))
    stage = channel_parameters(proven) if kernel.adds else proven.multiplier
    return np.concatenate([*blocks, stage.reshape(channels // GROUP, -1)], axis=1)


FAMILIES = (DepthwiseColumn(),)
