"""The output stage of the assembly kernels: what they share of a proven requantisation."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from memaopt.fixedpoint import Int64Array
from memaopt.kernels.rounding.requantize import Proven
from memaopt.kernels.rounding.thresholds import StepFunction
from memaopt.problems.step_functions import INT8_MAX, INT8_MIN


class _Cycles(NamedTuple):
    """Of an output's stage, a cycle for each instruction (output.j2)."""

    rounded: int = 1 + 1  # multiplied and added to, shifted and saturated
    by_sign: int = 1 + 1  # what negative accumulators add, and the addend
    cleared: int = 1  # the addend with its last bits cleared
    clamp: int = 1 + 1 + 1  # the distance to a bound, saturated, and back
    least_zero: int = 1  # saturated: the distance is the output itself
    complements: int = 1 + 1  # before and behind, where the bound is no constant of RSB's


_CYCLES = _Cycles()


@dataclass(frozen=True)
class Output:
    """How accumulators become bytes. Layers with equal stages (and sizes) can share a kernel.

    ``minimum`` and ``maximum`` are None where the saturation to 8 bits makes the clamp. ``base``: the requantisation
    gives distances to it, the least output, saturated to 0..255. ``cleared``: so many of the addend's last bits are 0
    for negative accumulators (cleared.py). ``bare``: there is no addend.
    """

    shift: int
    by_sign: bool
    minimum: int | None
    maximum: int | None
    base: int | None = None
    cleared: int = 0
    bare: bool = False

    @classmethod
    def of(cls, proven: Proven, requantization: StepFunction) -> "Output":
        """The output stage of a proven requantisation."""
        return cls(
            proven.shift,
            proven.negative is not None,
            requantization.minimum if proven.clamp_low else None,
            requantization.maximum if proven.clamp_high else None,
            cleared=proven.cleared,
            bare=proven.bare,
        )

    @classmethod
    def distances(cls, proven: Proven, requantization: StepFunction) -> "Output":
        """The same of a requantisation that gives distances to the least output."""
        bounds = requantization.minimum, requantization.maximum
        by_sign = proven.negative is not None
        return cls(proven.shift, by_sign, *bounds, requantization.minimum, proven.cleared, proven.bare)

    @property
    def slug(self) -> str:
        """For the names of kernels."""
        bounds = (("_ge", self.minimum), ("_le", self.maximum))
        clamps = "".join(f"{key}{bound}".replace("-", "m") for key, bound in bounds if bound is not None)
        sign = "_signed" if self.by_sign else f"_bits{self.cleared}" if self.cleared else ""
        return f"s{self.shift}{sign}{clamps}{'' if self.base is None else '_apart'}"

    def saturated(self, acc: str) -> list[str]:
        """Instructions that make a byte of what was multiplied and added to, where no clamp is left to make. The last
        ones of a distance leave the output modulo 256, of which a byte is stored.
        """
        if self.base is None:
            return [f"ssat {acc}, #8, {acc}, asr #{self.shift}"]
        assert self.maximum is not None
        return [
            f"usat {acc}, #8, {acc}, asr #{self.shift}",
            f"rsb {acc}, {acc}, #{self.maximum - self.base}",
            f"usat {acc}, #8, {acc}",
            f"rsb {acc}, {acc}, #{self.maximum % 256}",
        ]

    @property
    def spare(self) -> bool:
        """Whether an output's addend is made in a register of its own."""
        return self.by_sign or self.cleared > 0

    def cleared_addend(self, t: str, c: str, acc: str) -> str:
        """The instruction that makes it where bits are cleared."""
        return f"bic {t}, {c}, {acc}, lsr #{32 - self.cleared}"

    def addend(self, acc: str, c: str, negative: str) -> str:
        """In C: what SMMLA adds, of the channel's addend and that of negative accumulators; 0 if that is nothing."""
        if self.bare:
            return "0"
        if self.cleared:
            return f"{c} & ~(int32_t)((uint32_t){acc} >> {32 - self.cleared})"
        return f"{c} + ({acc} < 0 ? {negative} : 0)" if self.by_sign else c

    @property
    def low(self) -> int:
        """The least output, for C's clamp."""
        return INT8_MIN if self.minimum is None else self.minimum

    @property
    def high(self) -> int:
        """The greatest output, for C's clamp."""
        return INT8_MAX if self.maximum is None else self.maximum

    @property
    def clamps(self) -> bool:
        """Whether the saturation leaves clamps to make."""
        return self.base is None and (self.minimum, self.maximum) != (None, None)

    @property
    def words(self) -> int:
        """Parameters of a channel: multiplier, addend and, by sign, what negative accumulators add to it."""
        return 1 if self.bare else 3 if self.by_sign else 2

    @property
    def cycles(self) -> int:
        """Of one output, a cycle for each instruction, without the store."""
        return self.cycles_of(unsigned=False)

    def cycles_of(self, *, unsigned: bool) -> int:
        """The same where the byte may be value + 128. The distance to a least output of 0 is the output itself, that to
        a greatest one of -1 its complement; one below is no constant of RSB's.
        """
        offset, cycles = 128 if unsigned else 0, _CYCLES.rounded + _CYCLES.by_sign * self.by_sign
        cycles += _CYCLES.cleared if self.cleared else 0
        if self.base is not None:
            return cycles + _CYCLES.clamp
        if self.minimum is not None:
            cycles += _CYCLES.clamp if self.minimum + offset else _CYCLES.least_zero
        if self.maximum is not None:
            cycles += _CYCLES.clamp + (0 if self.maximum + offset >= -1 else _CYCLES.complements)
        return cycles


def channel_parameters(proven: Proven) -> Int64Array:
    """The output stage's words, [channels, Output.words]."""
    columns = [proven.multiplier, *([] if proven.bare else [proven.addend])]
    if proven.negative is not None:
        columns.append(proven.negative)
    return np.stack(columns, axis=1)
