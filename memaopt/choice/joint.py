"""Kernels chosen for several networks of one library at once: one flash, one RAM, one arena.

Networks run one at a time, so their stages are walked one network after the other: no tensor of one is alive beside
another's, the arena and the stack are the largest that anyone takes, and a kernel that several networks share is in one
place, once. What is copied into RAM stays there, so it adds up. Constants that two networks have alike count for each
of them here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from memaopt.choice.choice import Choice, Proof, Stage
from memaopt.choice.compile import layers_of, lower_bound_of
from memaopt.choice.network_plan import NetworkPlan
from memaopt.choice.problem import Problem
from memaopt.choice.solution import cheaper, lower_bound, reordered, search
from memaopt.choice.spaces import problem_within
from memaopt.memory.plan import MemoryPlan


@dataclass(frozen=True)
class Together:
    """What was chosen at once: the sum of the networks' prices, what no choice of theirs is below, and why (see
    :class:`~memaopt.choice.choice.Choice`), in so many bytes of ``flash`` and of ``arena``.
    """

    price: int
    bound: int
    proof: Proof
    flash: int
    arena: int


@dataclass(frozen=True, eq=False)
class Joint(Problem):
    """The problems of several networks as one: ``parts`` are theirs, whose candidates its stages have, or some."""

    parts: tuple[Problem, ...] = ()

    def picks_of(self, picks: Sequence[int]) -> list[tuple[int, ...]]:
        """The picks of each network among its own problem's candidates."""
        taken = iter(self.taken(picks).values())
        return [tuple(_index(next(taken), stage) for stage in part.stages) for part in self.parts]

    def apart(self, picks: Sequence[int]) -> list[tuple[int, Problem, tuple[int, ...]]]:
        """Each network's first stage here, its problem and its picks there."""
        starts = accumulate((len(part.stages) for part in self.parts), initial=0)
        return list(zip(starts, self.parts, self.picks_of(picks), strict=False))

    def memory_plan(self, picks: Sequence[int], *, reorder: bool = False, time_limit: float = 5.0) -> MemoryPlan:
        """That of the network which takes the largest arena."""
        made = (part.memory_plan(own, reorder=reorder, time_limit=time_limit) for _, part, own in self.apart(picks))
        return max(made, key=lambda plan: plan.arena_bytes)


def _index(candidate: object, stage: Stage) -> int:
    """Where a candidate, this very one, is in a stage."""
    return next(j for j, other in enumerate(stage.candidates) if other is candidate)


def joint(plans: Sequence[NetworkPlan], flash: int, sram: int, arena: int) -> Joint:
    """The problem of choosing for networks at once, each simplified and in chains as its plan has it, in so many bytes
    of all together."""
    parts = []
    for plan in plans:
        within = dataclasses.replace(plan.budgets, flash=flash, sram=sram, arena=arena)
        parts.append(problem_within(dataclasses.replace(plan, budgets=within), plan.graph, plan.room))
    limits = dataclasses.replace(parts[0].limits, flash_overhead=sum(part.limits.flash_overhead for part in parts))
    stages: list[Stage] = []
    plain: set[int] = set()
    first = 0
    for part in parts:
        at = first
        for stage in part.stages:
            inputs = tuple(None if tensor is None else at + tensor for tensor in stage.inputs)
            stages.append(Stage(stage.candidates, inputs, at + stage.output))
        plain |= {at + tensor for tensor in part.plain}
        first += len(part.graph.tensors)
    numbers = tuple(range(len(stages)))
    return Joint(
        parts[0].graph,
        {},
        {},
        numbers,
        tuple(stages),
        frozenset(plain),
        limits,
        numbers,
        parts[0].mcu,
        parts[0].sites,
        parts=tuple(parts),
    )


def choose(
    plans: Sequence[NetworkPlan], flash: int, sram: int, arena: int
) -> tuple[list[NetworkPlan], Together] | None:
    """The networks of these plans with the kernels that are best for all of them at once; None if none fit."""
    problem, objective = joint(plans, flash, sram, arena), plans[0].objective
    found = search(problem, objective)
    if found.choice is None:
        return None
    price, proof = found.choice.price, found.proof
    if proof != "enumeration" and cheaper(problem, objective, price) is None:
        proof = "enumeration"  # below what is known there may be little to look at
    bound = price if proof != "none" else min(price, lower_bound(problem, objective))
    made = []
    for plan, (_, part, picks) in zip(plans, problem.apart(found.choice.picks), strict=True):
        memory = reordered(part, picks, part.memory_plan(picks))
        taken = part.taken(picks).values()
        own = sum(candidate.price(objective) for candidate in taken)
        other = dataclasses.replace(
            plan,
            budgets=part.limits,
            layers=layers_of(part, plan.name, memory.order, picks),
            memory=memory,
            outer=part.outer_plan(picks, memory.order),
            choice=Choice(picks, own, own, "none"),
            within=None,
            neighbours=(),
        )
        chosen = dataclasses.replace(other.choice, bound=min(own, lower_bound_of(other)))
        made.append(dataclasses.replace(other, choice=chosen))
    return made, Together(price, bound, proof, flash, arena)
