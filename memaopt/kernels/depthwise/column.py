"""DEPTHWISE_CONV_2D of windows that lie in memory as rows of all channels, straight from the image's bytes.

Where a window is as wide as its image, its taps are rows of C bytes a fixed distance apart: signals over time, and
their pushes of one position. Four channels a turn: two taps' words become the taps in pairs, channel by channel (PKHBT,
PKHTB, then SXTB16), and meet the weights in pairs; an odd tap meets its own. Weights are 256 w and stream past once a
position; or packed, a byte each: then SXTB16 makes pairs of them too, and the sums are taken times 256 in the end. The
bias and the zero point's share are in the initial accumulator, and so is the rounding constant where SMMUL does without
an addend.

Addends by sign, c for accumulators from 0 on and c' for negative ones, come in one word: (c - base) and
-(c' - base) - (c - base) in its halves, the base being the layer's. With k = 1 | (acc >> 31), which is 1 or two halves
of -1, SMLAD(k, word, base) is c or c'.

Preconditions, checked offline: 256 |acc| < 2^31 for every input, the requantisation is proven, its addends by sign fit
these halves, and no tap is padding.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

import numpy as np

from memaopt.access import Access, loads, stores
from memaopt.fixedpoint import Int64Array, wrap_int32
from memaopt.kernels import around
from memaopt.kernels.chained_rows.chains import Loads
from memaopt.kernels.code import Call, Constants, Loop
from memaopt.kernels.depthwise.depthwise import SCALE, pairs_of, prove
from memaopt.kernels.emitted import Emitted, emitted, unary
from memaopt.kernels.executed import cycles_of
from memaopt.kernels.executed import words_of as code_words
from memaopt.kernels.family import data_bytes, dimensions, pareto
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
#: Of packed weights one more, so that loads have one less.
_SPREAD = "r12"
_SAVED = 9  # r4 to r11 and lr
_FRAME = around.Frame(60, 24)


@dataclass(frozen=True)
class ColumnKernel:
    """The assembly that layers share: ``taps`` rows, ``step`` bytes apart, of four channels a turn.

    ``adds``: the output stage has addends. ``packed``: one byte a weight instead of two.
    """

    taps: int
    step: int
    output: Output
    adds: bool
    packed: bool = False

    #: The weights, once from the first to the last.
    constants = (Constants("lr", "r2"),)

    @property
    def name(self) -> str:
        return short_name("depthwise_column", self.details)

    @property
    def details(self) -> str:
        """What tells kernels apart."""
        weights = ", a byte a weight" if self.packed else ""
        rounding = f"{'' if self.adds else 'bare '}rounding {self.output.slug}"
        return f"{self.taps} taps {self.step} bytes apart, {rounding}{weights}"

    @property
    def by_sign(self) -> bool:
        """Whether there is a base, in front of all parameters."""
        return self.adds and self.output.by_sign

    @property
    def pair_words(self) -> int:
        """Words of weights for two taps."""
        return GROUP // 2 if self.packed else GROUP

    @property
    def weights(self) -> int:
        """Words of weights in a turn."""
        return self.taps // 2 * self.pair_words + self.taps % 2 * (self.pair_words // 2)

    @property
    def words(self) -> int:
        """Words of parameters in a turn: initial accumulators, weights (those first if packed), output stage."""
        return GROUP + self.weights + GROUP * self.stage

    @property
    def stage(self) -> int:
        """Words of a channel's output stage."""
        return 2 if self.adds else 1

    @property
    def weights_at(self) -> int:
        """The word of a turn's parameters where its weights begin."""
        return 0 if self.packed else GROUP

    @property
    def starts_at(self) -> int:
        """The same of its initial accumulators."""
        return self.weights if self.packed else 0

    @cached_property
    def lines(self) -> list[str]:
        """The multiply-accumulates of a turn: products of r0's rows and lr's weights."""
        rows = [f"[r0, #{i * self.step}]" for i in range(self.taps)]
        weights = [f"[lr, #{4 * (self.weights_at + i)}]" for i in range(self.weights)]
        wanted, at = [], 0
        for first in range(0, self.taps, 2):
            pair = rows[first : first + 2]
            count = self.pair_words // 2 * len(pair)
            wanted += [*pair, *weights[at : at + count]]
            at += count
        held, at = Loads(wanted, [r for r in _FREE if not self.packed or r != _SPREAD]), 0
        for first in range(0, self.taps - 1, 2):
            of_pair = rows[first], rows[first + 1], weights[at : at + self.pair_words]
            self._packed_pair(held, *of_pair, first=first == 0) if self.packed else self._pair(held, *of_pair)
            at += self.pair_words
        if self.taps % 2:
            self._alone(held, rows[-1], weights[at:])
        return held.lines

    def _packed_pair(self, held: Loads, upper: str, lower: str, weights: list[str], *, first: bool) -> None:
        """Two taps of four channels, of which a word has the weights of two; the ``first`` begin the sums."""
        a, b, t, n = held.need(upper), held.need(lower), _SPARE, _SPREAD
        p, q = (held.need(weight) for weight in weights)
        held.lines += [f"pkhbt {t}, {a}, {b}, lsl #16", f"pkhtb {b}, {b}, {a}, asr #16"]
        for (even, odd), taps, word, spread in ((_SUMS[:2], t, p, a), (_SUMS[2:], b, q, t)):
            x = spread, taps
            held.lines += [f"sxtb16 {x[0]}, {taps}", f"sxtb16 {n}, {word}"]
            held.lines.append(f"smuad {even}, {x[0]}, {n}" if first else f"smlad {even}, {x[0]}, {n}, {even}")
            held.lines += [f"sxtb16 {x[1]}, {taps}, ror #8", f"sxtb16 {word}, {word}, ror #8"]
            held.lines.append(f"smuad {odd}, {x[1]}, {word}" if first else f"smlad {odd}, {x[1]}, {word}, {odd}")
        for address in (upper, lower, *weights):
            held.done(address)

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
        """The last tap, where their number is odd: channels 0 and 2 are in one word, 1 and 3 in the other; packed
        weights of all four in one."""
        a, t = held.need(row), _SPARE
        held.lines += [f"sxtb16 {t}, {a}", f"sxtb16 {a}, {a}, ror #8"]
        if self.packed:
            word = held.need(weights[0])
            held.lines += [f"sxtb16 {_SPREAD}, {word}", f"sxtb16 {word}, {word}, ror #8"]
        for number, (x, (first, second)) in enumerate(((t, ("r4", "r6")), (a, ("r5", "r7")))):
            w = (_SPREAD, word)[number] if self.packed else held.need(weights[number])
            held.lines += [f"smlabb {first}, {x}, {w}, {first}", f"smlatt {second}, {x}, {w}, {second}"]
        for address in (row, *weights):
            held.done(address)

    @cached_property
    def rounding(self) -> list[str]:
        """The output stage but for clamps, channel by channel: each line that ends one is empty."""
        first = self.words - GROUP * self.stage
        words = [f"[lr, #{4 * (first + i)}]" for i in range(GROUP * self.stage)]
        base, one, t = "r11", "r12", _SPARE
        if self.by_sign:
            held = Loads(["[sp]", *words], (base, "r8", "r9", "r10"))
            held.need("[sp]")
            held.lines.append(f"mov {one}, #1")
        else:
            held = Loads(words, _FREE)
        for acc, at in zip(_SUMS, range(0, len(words), self.stage), strict=True):
            m = held.need(words[at])
            if self.by_sign:
                held.lines.append(f"orr {t}, {one}, {acc}, asr #31")
                held.lines.append(f"smlad {t}, {t}, {held.need(words[at + 1])}, {base}")
            if self.adds:
                addend = t if self.by_sign else held.need(words[at + 1])
                held.lines.append(f"smmla {acc}, {acc}, {m}, {addend}")
            else:
                held.lines.append(f"smmul {acc}, {acc}, {m}")
            held.lines += [f"ssat {acc}, #8, {acc}, asr #{self.output.shift}", ""]
            for address in words[at : at + self.stage]:
                held.done(address)
        return held.lines

    def call(self, turns: float) -> Call:
        """A call for so many times four channels."""
        return Call(self, (turns,), (float(self.words),))

    def stack(self, turns: int) -> Access:
        """Of a call: saved registers, and the base of addends, read every turn."""
        return saved(_SAVED) + (stores(1, 4) + loads(turns, 4)).times(int(self.by_sign))

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
            rounding=[list(lines) for end, lines in groupby(self.rounding, key=bool) if end],
        )


class DepthwiseColumn:
    """Windows as wide as their image, without padding; channels by four."""

    name = "depthwise column"
    computes = Depthwise

    def plans(self, layer: Layer) -> tuple[Plan, ...]:
        assert isinstance(layer, Depthwise)
        found = (_choose(layer, packed) for packed in (False, True))
        return pareto(self._plan(layer, *chosen) for chosen in found if chosen is not None)

    def _plan(self, layer: Depthwise, kernel: ColumnKernel, proven: Proven) -> Plan:
        positions, turns = layer.output.height, layer.output.channels // GROUP
        calls = positions * turns
        code = (around.piece(around.CALL), kernel.call(turns))
        cycles = around.ENTRY.cycles + positions * (kernel.cycles(turns) + around.CALL.cycles)
        promise = Promise(
            (loads(kernel.taps * calls, 4),),
            stores(GROUP * calls, 1),
            loads(kernel.words * calls + kernel.by_sign * positions, 4),
            stack=kernel.stack(turns).times(positions),
        )
        return Plan(
            family=self.name,
            tile=f"{GROUP} channels{', packed' * kernel.packed}",
            cycles=round(cycles),
            promise=promise,
            data_bytes=words_bytes(turns * kernel.words + kernel.by_sign),
            code_bytes=kernel.code_bytes + _FRAME.code,
            stack_bytes=4 * (_SAVED + kernel.by_sign) + _FRAME.stack,
            kernels=(kernel.name,),
            shared_bytes=kernel.code_bytes,
            code=(*around.entry(), Loop(code, positions)),
            alignment=4,
            requantization=proven.describe(),
            options=(("packed", int(kernel.packed)),),
        )

    def emit(self, layer: Layer, plan: Plan, name: str) -> Emitted:
        assert isinstance(layer, Depthwise)
        chosen = _choose(layer, bool(dict(plan.options)["packed"]))
        assert chosen is not None
        kernel, proven = chosen
        order = "weights, initial accumulators" if kernel.packed else "initial accumulators, weights in pairs"
        comment = f"four channels at a time: {order}, output stage{'; a base in front' * kernel.by_sign}"
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


def _choose(layer: Depthwise, packed: bool) -> tuple[ColumnKernel, Proven] | None:
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
    kernel = ColumnKernel(taps, step, Output.of(proven, layer.requantization), adds, packed)
    fits = not kernel.by_sign or bool((abs(_addends(proven)[1]) < 1 << 15).all())
    return (kernel, proven) if fits and 4 * kernel.words <= REACH else None


def _addends(proven: Proven) -> tuple[int, Int64Array]:
    """Of addends by sign the base, and what the halves of each channel's word hold: [channels, 2]."""
    assert proven.negative is not None
    base = int(proven.addend[~proven.constant].min(initial=int(proven.addend.max())))
    above = np.where(proven.constant, 0, proven.addend - base)
    below = np.where(proven.constant, 0, proven.addend + proven.negative - base)
    return base, np.stack([above, -below - above], axis=1)


def _stage(kernel: ColumnKernel, proven: Proven) -> tuple[Int64Array, Int64Array, Int64Array]:
    """What the output stage adds to initial accumulators, its words [channels, stage], and what lies in front."""
    none = np.zeros(0, np.int64)
    if not kernel.adds:
        return proven.start, proven.multiplier[:, None], none
    if not kernel.by_sign:
        return proven.start, channel_parameters(proven), none
    base, halves = _addends(proven)
    # Where no input changes the output, the accumulator alone makes it: 2^30 is the multiplier.
    alone = proven.constant
    start = np.where(alone, (proven.addend - base) << 2, proven.start)
    m = np.where(alone, 1 << 30, proven.multiplier)
    return start, np.stack([m, pairs_of(halves[:, 0], halves[:, 1])], axis=1), np.array([base], np.int64)


def _parameters(layer: Depthwise, kernel: ColumnKernel, proven: Proven) -> Int64Array:
    """What the kernel reads: what is in front, then turn by turn."""
    turns = layer.output.channels // GROUP
    w = layer.weights.astype(np.int64).reshape(kernel.taps, -1)
    # A stage without addends of a channel's own has nothing but the accumulator for an output that no input changes.
    w = np.where(proven.constant, 0, w)
    bias = np.where(proven.constant, 0, SCALE * layer.bias)
    starts, stage, front = _stage(kernel, proven)
    start = wrap_int32(bias + starts - layer.input_zero_point * SCALE * w.sum(axis=0)).reshape(-1, GROUP)
    weights = _packed(w) if kernel.packed else _halved(w)
    blocks = [weights, start] if kernel.packed else [start, weights]
    return np.concatenate([front, np.concatenate([*blocks, stage.reshape(turns, -1)], axis=1).ravel()])


def _halved(w: Int64Array) -> Int64Array:
    """Weights [taps, channels] times 256 as words, [turns, words]: of two taps channel by channel, of the last one by
    two channels."""
    even, scaled = len(w) // 2 * 2, SCALE * w
    blocks = [*pairs_of(scaled[0:even:2], scaled[1:even:2]).reshape(even // 2, -1, GROUP)]
    if len(w) % 2:
        last = scaled[-1].reshape(-1, GROUP)
        blocks.append(pairs_of(last[:, :2], last[:, 2:]))
    return np.concatenate(blocks, axis=1)


def _packed(w: Int64Array) -> Int64Array:
    """The same, a byte each: of two taps two channels a word, tap by tap; of the last one all four."""
    taps = w.reshape(len(w), -1, GROUP) & 0xFF
    pairs = [taps[i : i + 2, :, first : first + 2] for i in range(0, len(w) - 1, 2) for first in (0, 2)]
    bytes_of = [pair.transpose(1, 0, 2).reshape(-1, GROUP) for pair in pairs]
    bytes_of += [taps[-1]] if len(w) % 2 else []
    return wrap_int32(np.stack(bytes_of, axis=1) @ (1 << np.arange(0, 32, 8)))


FAMILIES = (DepthwiseColumn(),)
