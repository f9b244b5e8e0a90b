"""Layers that cannot be packed together: what the choice of kernels must not choose, and nothing more.

What the memory plan needs depends on few things that a plan asks for, its :class:`Demand`. A :class:`Clash` says that
consecutive layers which ask for at least this much need an arena of so many bytes, whatever the others are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from memaopt.choice.choice import Candidate
from memaopt.choice.in_ram import constants_room
from memaopt.kernels.registry import Format, Plan

Stretch = tuple[tuple[int, int], ...]
"""Steps of a partition into chains one behind the other, each from a position to another."""


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
        return self.lead is not None and other.step % self.step == 0 and self.lead <= other.lead


def demand_of(plan: Plan) -> Demand:
    """What a plan asks for."""
    fused, deferred = plan.input_format is Format.FUSED, plan.output_format is Format.FUSED
    step = 1 if plan.lead is None else plan.lead_step
    return Demand(fused, deferred, plan.in_place, plan.lead, step, plan.scratch_bytes)


class RamUse(NamedTuple):
    """What a layer takes of the RAM beside arena and code: bytes kept for constants, and of stack."""

    data: int
    stack: int

    def met_by(self, other: RamUse) -> bool:
        """Whether ``other`` takes at least as much."""
        return self.data <= other.data and self.stack <= other.stack


def copies_of(candidate: Candidate) -> RamUse:
    """What a candidate takes."""
    return RamUse(constants_room(candidate.plan) if candidate.where.data else 0, candidate.stack_bytes)


@dataclass(frozen=True)
class Clash:
    """Stages from ``first`` on that meet these demands (None: whatever they ask), and take these ``copies`` if they are
    given, need an arena of ``arena`` bytes or more: if ``code`` bytes or more are kept in RAM for all code."""

    first: int
    demands: tuple[Demand | None, ...]
    arena: int
    copies: tuple[RamUse, ...] | None = None
    code: int = 0

    @property
    def last(self) -> int:
        """The last of the stages."""
        return self.first + len(self.demands) - 1

    def met(self, stage: int, candidate: Candidate) -> bool:
        """Whether a candidate meets the demand at a stage; not at a stage that it does not speak of."""
        at = stage - self.first
        if not self.first <= stage <= self.last:
            return False
        demand = self.demands[at]
        if demand is not None and not demand.met_by(demand_of(candidate.plan)):
            return False
        return self.copies is None or self.copies[at].met_by(copies_of(candidate))


class StepClash(NamedTuple):
    """``steps`` of a partition whose kernels ask for at least these ``demands`` (None: whatever they ask) and need a
    larger arena than there is, whatever the other steps are; or whose partition is passed over."""

    steps: Stretch
    demands: tuple[Demand | None, ...]

    @property
    def first(self) -> int:
        """The position of the first step."""
        return self.steps[0][0]

    @property
    def last(self) -> int:
        """The position behind the last step."""
        return self.steps[-1][1]

    def met(self, ends: tuple[int, int], demand: Demand | None) -> bool:
        """Whether a step meets its demand; not if it is none of the steps. None: what it asks for is not known."""
        if ends not in self.steps:
            return False
        least = self.demands[self.steps.index(ends)]
        return least is None or (demand is not None and least.met_by(demand))
