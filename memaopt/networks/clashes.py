"""Layers that cannot be packed together: what the choice of kernels must not choose, and nothing more.

What the memory plan needs depends on few things that a plan asks for, its :class:`Demand`. A :class:`Clash` says that
consecutive layers which ask for at least this much need an arena of so many bytes, whatever the others are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from memaopt.emit.layers import Format, Plan


class Demand(NamedTuple):
    """What a layer asks of the memory plan: whether it computes its input itself (``fused``) or leaves that to its
    reader (``deferred``), whether it works in place, its lead (None: the output apart from the input), its scratch."""

    fused: bool
    deferred: bool
    in_place: bool
    lead: int | None
    step: int
    scratch: int

    def met_by(self, other: Demand) -> bool:
        """Whether every memory plan that does for ``other`` would do for this one."""
        if (self.fused, self.deferred, self.in_place) != (other.fused, other.deferred, other.in_place):
            return False
        if self.scratch > other.scratch:
            return False
        if other.lead is None:
            return True
        return self.lead is not None and self.step == other.step and self.lead <= other.lead


def demand_of(plan: Plan) -> Demand:
    """What a plan asks for."""
    fused, deferred = plan.input_format is Format.FUSED, plan.output_format is Format.FUSED
    step = 1 if plan.lead is None else plan.lead_step
    return Demand(fused, deferred, plan.in_place, plan.lead, step, plan.scratch_bytes)


@dataclass(frozen=True)
class Clash:
    """Stages from ``first`` on that meet these demands need an arena of at least ``arena`` bytes."""

    first: int
    demands: tuple[Demand, ...]
    arena: int

    @property
    def last(self) -> int:
        """The last of the stages."""
        return self.first + len(self.demands) - 1

    def met(self, stage: int, plan: Plan) -> bool:
        """Whether a plan meets the demand at a stage; not at a stage that it does not speak of."""
        return self.first <= stage <= self.last and self.demands[stage - self.first].met_by(demand_of(plan))
