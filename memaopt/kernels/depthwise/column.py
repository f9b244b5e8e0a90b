"""DEPTHWISE_CONV_2D of windows that lie in memory as rows of all channels, straight from the image's bytes.

Where a window is as wide as its image, its taps are rows of C bytes a fixed distance apart: signals over time, and
their pushes of one position. Four channels a turn: two taps' words become the taps in pairs, channel by channel (PKHBT,
PKHTB, then SXTB16), and meet the weights in pairs; an odd tap meets its own. Weights are 256 w and stream past once a
position; or packed, a byte each: then SXTB16 makes pairs of them too, and the sums are taken times 256 in the end. Many
taps go in a loop, which a cache of 1 KiB holds. The bias and the zero point's share are in the initial accumulator, and
so is the rounding constant where SMMUL does without an addend.

Addends by sign, c for accumulators from 0 on and c' for negative ones, come in one word: (c - base) and
-(c' - base) - (c - base) in its halves, the base being the layer's. With k = 1 | (acc >> 31), which is 1 or two halves
of -1, SMLAD(k, word, base) is c or c'.

Preconditions, checked offline: 256 |acc| < 2^31 for every input, the requantisation is proven, its addends by sign fit
these halves, and no tap is padding.

Where rows were kept from run to run, the last tap's is a new one that lies elsewhere: a word on the stack says how far.
While all of them pass, each may go where the one before was: so they are kept for the next run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from memaopt.access import loads, stores
from memaopt.fixedpoint import Int64Array, wrap_int32
from memaopt.kernels import around
from memaopt.kernels.code import Loop
from memaopt.kernels.depthwise.column_kernel import GROUP, SAVED, ColumnKernel
from memaopt.kernels.depthwise.depthwise import SCALE, pairs_of, prove
from memaopt.kernels.emitted import Emitted, emitted, unary
from memaopt.kernels.family import data_bytes, dimensions, pareto
from memaopt.kernels.plan import Plan, Promise
from memaopt.kernels.rounding.output import Output, channel_parameters
from memaopt.kernels.rounding.requantize import Proven
from memaopt.kernels.text.c import Array, words_bytes
from memaopt.kernels.text.thumb import REACH
from memaopt.problems.joined import JoinedDepthwise
from memaopt.problems.layers import Depthwise

_FRAME = around.Frame(60, 24)
_LAST = around.Frame(8, 8)  # more of it where the last row lies elsewhere
_UNROLL = 4  # pairs of taps in a turn of a loop, where there are two turns of them at least
_LOOPED = 4 * _UNROLL  # taps from which on there is a loop


@dataclass(frozen=True)
class DepthwiseColumn:
    """Windows as wide as their image, without padding; channels by four. Or at one position, where all rows but the
    last one, which is one tap, lie together."""

    computes: type
    name: ClassVar[str] = "depthwise column"

    def plans(self, layer: Depthwise | JoinedDepthwise) -> tuple[Plan, ...]:
        whole = _whole(layer)
        if isinstance(layer, JoinedDepthwise) and not _fits(layer):
            return ()
        loops = whole.window.kernel.height * whole.window.kernel.width >= _LOOPED
        found = (_choose(layer, packed, unroll) for packed in (False, True) for unroll in (0, _UNROLL)[: 1 + loops])
        return pareto(self._plan(whole, *chosen) for chosen in found if chosen is not None)

    def _plan(self, layer: Depthwise, kernel: ColumnKernel, proven: Proven) -> Plan:
        positions, turns = layer.output.height, layer.output.channels // GROUP
        calls, frame = positions * turns, _LAST if kernel.joined else around.Frame(0, 0)
        last = (loads(calls, 4),) if kernel.joined else ()
        rows = (kernel.taps - kernel.joined) * calls
        kept = loads(rows, 4) + stores(rows * kernel.moves, 4)
        code = (around.piece(around.CALL), kernel.call(turns))
        cycles = around.ENTRY.cycles + positions * (kernel.cycles(turns) + around.CALL.cycles)
        promise = Promise(
            (kept, *last),
            stores(GROUP * calls, 1),
            loads(kernel.words * calls + kernel.by_sign * positions, 4),
            stack=kernel.stack(turns).times(positions),
        )
        return Plan(
            family=self.name,
            tile=f"{GROUP} channels{f' by {2 * kernel.unroll}' if kernel.unroll else ''}{', packed' * kernel.packed}",
            cycles=round(cycles),
            promise=promise,
            data_bytes=words_bytes(turns * kernel.words + kernel.by_sign),
            code_bytes=kernel.code_bytes + _FRAME.code + frame.code,
            stack_bytes=4 * (SAVED + kernel.slots) + _FRAME.stack + frame.stack,
            kernels=(kernel.name,),
            shared_bytes=kernel.code_bytes,
            code=(*around.entry(), Loop(code, positions)),
            alignment=4,
            requantization=proven.describe(),
            options=(("packed", int(kernel.packed)), ("unroll", kernel.unroll)),
        )

    def emit(self, layer: Depthwise | JoinedDepthwise, plan: Plan, name: str) -> Emitted:
        chosen = _choose(layer, bool(plan.option("packed")), plan.option("unroll"))
        assert chosen is not None
        kernel, proven = chosen
        layer = _whole(layer)
        kept = f"{'' if kernel.moves else 'const '}int8_t *kept, const int8_t *last"
        order = "weights, initial accumulators" if kernel.packed else "initial accumulators, weights in pairs"
        comment = f"four channels at a time: {order}, output stage{'; a base in front' * kernel.by_sign}"
        weights = Array("int32_t", f"{name}_weights", _parameters(layer, kernel, proven), comment)
        arrays = [weights] if layer.output.height == 1 else [weights.in_lines()]
        assert data_bytes(arrays) == plan.data_bytes
        return emitted(
            f"void {name}({kept}, int8_t *out, void *scratch)" if kernel.joined else unary(name),
            plan,
            f"DEPTHWISE_CONV_2D {dimensions(layer.shape)} -> {dimensions(layer.output)}, {layer.window.describe()}",
            "kernels/depthwise/depthwise_column_layer.c.j2",
            arrays=arrays,
            kernels=(kernel,),
            kernel=kernel.name,
            joined=kernel.joined,
            positions=layer.output.height,
            advance=layer.window.stride.height * layer.shape.width * layer.shape.channels,
            channels=layer.output.channels,
            turns=layer.output.channels // GROUP,
        )


def _whole(layer: Depthwise | JoinedDepthwise) -> Depthwise:
    """The layer on its image, which may lie nowhere as a whole."""
    return layer.depthwise if isinstance(layer, JoinedDepthwise) else layer


def _moves(layer: Depthwise | JoinedDepthwise) -> bool:
    """Whether kept rows move up."""
    return isinstance(layer, JoinedDepthwise) and layer.moves


def _fits(layer: JoinedDepthwise) -> bool:
    """Whether one row alone is new, the last tap of the one position; if rows move, all of them are taps, but so few
    that no loop is worth while."""
    whole = layer.depthwise
    window, (height, width, _) = whole.window, whole.shape
    last = layer.kept == height - 1 and width == 1 and whole.output.height == 1 and window.extent.height == height
    return last and (not layer.moves or window.kernel.height == height < _LOOPED)


def _choose(layer: Depthwise | JoinedDepthwise, packed: bool, unroll: int = 0) -> tuple[ColumnKernel, Proven] | None:
    """The kernel, None where a precondition fails."""
    joined, moves, layer = isinstance(layer, JoinedDepthwise), _moves(layer), _whole(layer)
    window, (height, width, channels), positions = layer.window, layer.shape, layer.output.height
    across = width == window.kernel.width and (width == 1 or window.dilation == (1, 1))
    inside = not any(window.padding) and (positions - 1) * window.stride.height + window.extent.height <= height
    if not across or not inside or layer.output.width != 1 or layer.multiplier > 1 or channels % GROUP:
        return None
    taps, step = window.kernel.height * window.kernel.width, window.dilation.height * channels
    found = prove(layer)
    if found is None or taps < 2:
        return None
    proven, adds = found
    kernel = ColumnKernel(taps, step, Output.of(proven, layer.requantization), adds, packed, unroll, joined, moves)
    fits = not kernel.by_sign or bool((abs(_addends(proven)[1]) < 1 << 15).all())
    return (kernel, proven) if fits and kernel.reach <= REACH else None


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


FAMILIES = (DepthwiseColumn(Depthwise), DepthwiseColumn(JoinedDepthwise))
