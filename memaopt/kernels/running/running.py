"""Averages over a window that slides, channel by channel: what is new joins the sum, what leaves the window goes."""

from __future__ import annotations

from memaopt.access import loads, stores
from memaopt.kernels import around
from memaopt.kernels.around import Compiled, piece
from memaopt.kernels.code import Loop, compiled
from memaopt.kernels.emitted import Emitted, emitted
from memaopt.kernels.plain import ARITHMETIC, plain
from memaopt.kernels.plan import Plan, Promise
from memaopt.kernels.pooling.channel_sums import SCALE, proven_of, sums_of
from memaopt.kernels.pooling.reductions import rescaled
from memaopt.kernels.rounding.output import Output
from memaopt.problems.layers import Pool
from memaopt.problems.running import RunningMean

_WRITTEN_OUT = 4  # positions, at most
#: What GCC 12.2 makes at -O3 of a position, written out and in a loop; of a channel besides, up to the rounding; and of
#: the rounding: by one multiplication, with a negative's other constant, and as the reference has it (a division, where
#: it is an average). By counts of 1 to 8 positions of 50 and 240 channels on the board, of which the same C
#: takes up to a sixth more where its branches lie otherwise.
_STRAIGHT, _LOOPED = Compiled(15, 5.8), Compiled(25, 11.2)
_CHANNEL, _LOOP = Compiled(28, 9.4), Compiled(26, 6)
_ONE, _TWO, _REFERENCE, _DIVIDED = Compiled(28, 8), Compiled(38, 11), Compiled(76, 21), Compiled(40, 8)
#: Bytes of code at most (`tests/kernels/test_frames.py`).
_CODE = 320


class GenericRunning:
    """Any sizes."""

    name = "generic"
    computes = RunningMean

    def plans(self, layer: RunningMean) -> tuple[Plan, ...]:
        n, rows = layer.channels, loads(layer.channels * layer.moved, 1)
        proven = proven_of(layer.whole)
        straight = _straight(layer)
        parts = [_rounding(layer), *((_CHANNEL, *[_STRAIGHT] * layer.moved) if straight else (_LOOP,))]
        # One stretch: the compiler loads positions in the midst of what it does with those before.
        turn = compiled(sum(part.size for part in parts), sum(part.cycles for part in parts))
        loops = () if straight else (Loop((piece(_LOOPED),), layer.moved),)
        code = (*around.entry(), Loop((turn, *loops), n))
        promise = Promise((loads(n, 4) + stores(n, 4), rows, rows), stores(n, 1))
        said = ARITHMETIC if proven is None else proven.describe()
        return (plain(code, promise, _CODE, said, alignment=4),)

    def emit(self, layer: RunningMean, plan: Plan, name: str) -> Emitted:
        return emitted(
            f"void {name}(int32_t *sums, const int8_t *leaving, const int8_t *last, int8_t *out, void *scratch)",
            plan,
            f"average of {layer.count} positions of {layer.channels} channels, {layer.moved} of them new",
            "kernels/running/running.c.j2",
            layer=layer,
            written_out=_straight(layer),
            result=_result(layer),
        )


def _straight(layer: RunningMean) -> bool:
    """Whether positions are written out."""
    return layer.moved <= _WRITTEN_OUT


def _rounding(layer: RunningMean) -> Compiled:
    """What the output is made by."""
    averages = isinstance(layer.whole, Pool)
    if proven_of(layer.whole) is None:
        return _DIVIDED if averages else _REFERENCE
    return _ONE if averages else _TWO


def _result(layer: RunningMean) -> str:
    """The C text of the output of ``total``."""
    whole = layer.whole
    sums, proven = sums_of(whole), proven_of(whole)
    if sums is None or proven is None:
        if not isinstance(whole, Pool):
            return rescaled(whole, f"total - ({layer.count * whole.input_zero_point})")
        up = 128 if whole.ties_up else 0
        mean = f"divide_rounding(total + {up * layer.count}, {layer.count}) - {up}"
        return f"clamp({mean}, {whole.minimum}, {whole.maximum})"
    zero_point = 0 if isinstance(whole, Pool) else whole.input_zero_point
    start = int(proven.start[0]) - SCALE * layer.count * zero_point
    acc = f"total * {SCALE} + ({start})"
    q = whole if isinstance(whole, Pool) else whole.requantization
    negative = "" if proven.negative is None else f"{int(proven.negative[0])}"
    addend = Output.of(proven, sums.function).addend(f"({acc})", f"{int(proven.addend[0])}", negative)
    value = f"smmla({acc}, {int(proven.multiplier[0])}, {addend}) >> {proven.shift}"
    return f"clamp({value}, {q.minimum}, {q.maximum})"


FAMILIES = (GenericRunning(),)
