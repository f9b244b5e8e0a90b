"""AVERAGE_POOL_2D over a whole image and MEAN over neighbouring axes, not the last one: sums of each channel, which is
all that lies behind those axes.

SXTAB16 adds two channels at once to 16-bit sums, which 255 elements cannot overflow; more are summed in parts, which
are added up in 32 bits. The output is a
non-decreasing function of the sum, so one multiplication gives it, proven at its thresholds. Channels that are no
multiple of four make the last four overlap those before.
"""

import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from memaopt.access import loads, stores
from memaopt.kernels import around
from memaopt.kernels.code import Call, Loop, Rendered
from memaopt.kernels.emitted import Emitted, emitted, unary
from memaopt.kernels.executed import cycles_of, words_of
from memaopt.kernels.family import dimensions
from memaopt.kernels.plan import Plan, Promise, saved
from memaopt.kernels.rounding import cleared
from memaopt.kernels.rounding.output import Output
from memaopt.kernels.rounding.requantize import Proven
from memaopt.kernels.rounding.thresholds import StepFunction
from memaopt.kernels.text.c import short_name
from memaopt.kernels.text.thumb import REACH
from memaopt.problems.layers import Mean, Pool, PoolKind
from memaopt.problems.step_functions import INT8_MAX, INT8_MIN, AccumulatorRange, Average

SCALE = 256
_MOST = 255


class _Cycles(NamedTuple):
    """Of the kernel's parts, instruction by instruction (docs/timing.md)."""

    again: int = 31  # one more call: nine registers pushed and popped, and a loop around it
    only: int = 12  # the one call there is, and a layer's entry and exit
    position: int = 3  # a load, two sums
    turn: int = 2  # the input moves on; the first of loads in a row takes two
    loop: int = 3  # counted, and back
    four: int = 2 + 2 + 6 + 4 + 3  # sums start; constants; halfwords apart; to the next four
    by_sign: int = 2  # another constant
    rest: int = 2  # positions that turns leave over
    byte: int = 1  # stored, beside its output stage
    overlap: int = 1  # of a four: is it the last?
    overlapping: int = 5  # the last four


_CYCLES = _Cycles()


class Parts(NamedTuple):
    """``parts`` of ``turns`` times ``unroll`` positions each, and ``left`` more."""

    unroll: int
    turns: int
    parts: int
    left: int

    @property
    def cycles(self) -> int:
        """To choose by, of four channels: turns, parts, and what is left."""
        turn = 3 * self.unroll + 2 + 3
        return self.parts * (self.turns * turn + 10) + (3 * self.left + 8 if self.left else 0)


@dataclass(frozen=True)
class Sums:
    """``count`` positions of ``channels`` channels, so many ``times``, and the step function of their sums."""

    times: int
    channels: int
    count: int
    zero_point: int
    function: StepFunction

    @property
    def range(self) -> AccumulatorRange:
        """Sums of x - zero point."""
        ends = (INT8_MIN - self.zero_point, INT8_MAX - self.zero_point)
        low, high = (np.array([self.count * end]) for end in ends)
        return AccumulatorRange(low, high)

    @property
    def fours(self) -> int:
        """Groups of four channels."""
        return -(-self.channels // 4)

    @property
    def unaligned_cycles(self) -> int:
        """What words at addresses that are no multiple of 4 cost more."""
        starts = np.minimum(4 * np.arange(self.fours), self.channels - 4)
        at = np.add.outer(np.arange(self.times * self.count) * self.channels, starts)
        return int(np.where(at % 2 == 1, 2, np.where(at % 4 == 2, 1, 0)).sum())

    @property
    def parts(self) -> "Parts | None":
        """How more positions than 16 bits hold are parted, with few left over; None if there is no need to."""
        if self.count <= _MOST:
            return None
        most = min(4, REACH // self.channels + 1)
        found = [
            Parts(unroll, turns, *divmod(self.count, unroll * turns))
            for unroll in range(1, most + 1)
            for turns in range(2, _MOST // unroll + 1)
            if self.count % (unroll * turns) <= most
        ]
        return min(found, key=lambda each: each.cycles) if found else None

    @property
    def unroll(self) -> int:
        """Positions in a turn of the loop: as many as there are registers for, with few left over."""
        most = min(8, REACH // self.channels + 1, self.count)
        return min(range(1, most + 1), key=lambda u: (self.count // u * (3 * u + 5) + (self.count % u) * 3 + 2, u))


def sums_of(layer: Pool | Mean) -> Sums | None:
    """The layer as sums of channels, None if it is no such thing."""
    if isinstance(layer, Pool):
        window, (height, width, channels) = layer.window, layer.shape
        whole = window.padding == (0, 0) and layer.output.positions == 1 and window.kernel == (height, width)
        if layer.kind is not PoolKind.AVERAGE or not whole:
            return None
        return Sums(
            1, channels, height * width, 0, Average(height * width, layer.minimum, layer.maximum, ties_up=layer.ties_up)
        )
    # Axes that are kept, then those of a sum, then the channels.
    summed = [d for d in layer.axes if layer.shape[d] > 1]
    first, last = min(summed, default=0), max(summed, default=-1)
    if any(layer.shape[d] > 1 and d not in layer.axes for d in range(first, last)):
        return None
    channels = math.prod(layer.shape[last + 1 :])
    times = layer.elements // layer.count // channels
    return Sums(times, channels, layer.count, layer.input_zero_point, layer.requantization)


class ChannelSums:
    """What the two families share."""

    name = "channel sums"
    computes: type = Pool

    def plans(self, layer: Pool | Mean) -> tuple[Plan, ...]:
        sums = sums_of(layer)
        if sums is None or sums.channels < 4 or (sums.count > _MOST and sums.parts is None):
            return ()
        proven = proven_of(layer)
        if proven is None:
            return ()
        if sums.parts is not None:
            return (self._in_parts(sums, sums.parts, proven),)
        output, fours, overlap = Output.of(proven, sums.function), sums.fours, sums.channels % 4 > 0
        unroll = sums.unroll
        turns, rest = divmod(sums.count, unroll)
        call = Call(_kernel(sums, proven), (fours, turns) if turns > 1 else (fours,))
        c = _CYCLES
        group = turns * (c.position * unroll + c.turn) + (c.loop * turns if turns > 1 else 0) + c.four
        group += (c.position * rest + c.rest if rest else 0) + 4 * (output.cycles + c.byte)
        group += (c.by_sign if output.by_sign else 0) + c.overlap * overlap
        again = sums.times * (fours * group + c.overlapping * overlap + c.again)
        return (self._plan(sums, proven, call, f"4x{unroll}", again),)

    def _in_parts(self, sums: Sums, parts: Parts, proven: Proven) -> Plan:
        call = Call(_kernel(sums, proven), (sums.fours, parts.parts, parts.turns))
        again = sums.times * (cycles_of((call,)) + _CYCLES.again)
        return self._plan(sums, proven, call, f"4x{parts.unroll} in {parts.parts}", again)

    def _plan(self, sums: Sums, proven: Proven, call: Call, tile: str, again: float) -> Plan:
        """The plan of a call for each image; ``again``: cycles, as if every call came after another one."""
        words, code, overlap = sums.times * sums.count * sums.fours, 4 * words_of(call), sums.channels % 4 > 0
        slower = call._replace(slow=sums.unaligned_cycles / words)
        return Plan(
            family=self.name,
            tile=tile,
            cycles=round(again) - _CYCLES.again + _CYCLES.only + sums.unaligned_cycles,
            promise=Promise(
                (loads(words, 4),), stores(sums.times * 4 * sums.fours, 1), stack=saved(9).times(sums.times)
            ),
            data_bytes=0,
            code_bytes=code + 36,
            stack_bytes=52,
            kernels=(call.routine.name,),
            shared_bytes=code,
            code=(Loop((around.piece(around.CALL), slower), sums.times),),
            in_place=not overlap,
            alignment=4,
            requantization=proven.describe(),
        )

    def emit(self, layer: Pool | Mean, plan: Plan, name: str) -> Emitted:
        return emitted_sums(layer, plan, name, _kernel)


class WholeImageMean(ChannelSums):
    """MEAN over neighbouring axes, not the last one."""

    computes = Mean


def _kernel(sums: Sums, proven: Proven) -> Rendered:
    parts = sums.parts or Parts(sums.unroll, sums.count // sums.unroll, 1, sums.count % sums.unroll)
    template = f"kernels/pooling/channel_sums{'_parts' if sums.parts else ''}.c.j2"
    loops = (("unroll", parts.unroll), ("turns", parts.turns), ("parts", parts.parts), ("rest", parts.left))
    return kernel_of_sums("channel_sums", template, sums, proven, loops)


def kernel_of_sums(
    family: str, template: str, sums: Sums, proven: Proven, loops: tuple[tuple[str, Hashable], ...]
) -> Rendered:
    """The assembly that makes outputs of sums; ``loops``: how the template goes over the elements."""
    values = (proven.multiplier[0], proven.start[0], proven.addend[0], sums.zero_point)
    output = Output.of(proven, sums.function)
    constants = ", ".join(f"{value:,}" for value in values)
    details = f"{sums.count} positions, {sums.channels} channels, rounding {output.slug} with {constants}"
    return Rendered(
        short_name(family, details),
        template,
        (
            ("channels", sums.channels),
            ("count", sums.count),
            *loops,
            ("start", int(proven.start[0]) - SCALE * sums.count * sums.zero_point),
            ("multiplier", int(proven.multiplier[0])),
            ("addend", int(proven.addend[0])),
            ("negative", 0 if proven.negative is None else int(proven.negative[0])),
            ("q", output),
            ("details", details),
        ),
    )


def emitted_sums(layer: Pool | Mean, plan: Plan, name: str, kernel_of: Callable[[Sums, Proven], Rendered]) -> Emitted:
    """The C of a layer whose sums a kernel has, called for each image."""
    sums, proven = sums_of(layer), proven_of(layer)
    assert sums is not None
    assert proven is not None
    kernel = kernel_of(sums, proven)
    what = "AVERAGE_POOL_2D" if isinstance(layer, Pool) else "MEAN"
    title = f"{what} of {dimensions(layer.shape)} over {sums.count} positions"
    template = "kernels/pooling/channel_sums_layer.c.j2"
    return emitted(unary(name), plan, title, template, kernels=(kernel,), sums=sums, kernel=kernel.name)


@lru_cache(maxsize=256)
def proven_of(layer: Pool | Mean) -> Proven | None:
    """How a sum becomes an output, proven for every sum; None if that is not found."""
    sums = sums_of(layer)
    assert sums is not None
    return cleared.prove_multiply_add(sums.function, sums.range, SCALE)


FAMILIES = (ChannelSums(), WholeImageMean())
