"""Solving a network's problem: the best choice of kernels that can be placed, or why there is none."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Literal

from memaopt.errors import InfeasibleError
from memaopt.networks import choice, memory
from memaopt.networks.choice import Choice, Objective
from memaopt.networks.memory import MemoryPlan
from memaopt.networks.placement import IN_FLASH
from memaopt.networks.problem import ALIGNMENT, Problem, in_place_of, leads_of

#: Bytes that no network needs.
_UNLIMITED = 1 << 30
#: Choices that are tried with what they have alive a little smaller each time, where it does not pack.
_FINE_TRIES = 32


def solve(problem: Problem, name: str, objective: Objective) -> tuple[Choice, MemoryPlan]:
    """The best choice whose tensors and scratch can be placed within the SRAM, and where they are placed."""
    found = search(problem, objective)
    if found is None:
        raise _why(problem, name)
    return found


def search(problem: Problem, objective: Objective) -> tuple[Choice, MemoryPlan] | None:
    """What :func:`solve` returns; None if nothing fits, without asking why."""
    budgets = problem.limits
    assert budgets.sram is not None
    limit = budgets.sram
    for tries in itertools.count():
        picked = choice.choose(problem.stages, problem.plain, objective, budgets)
        if picked is None:
            return None
        chosen = problem.chosen(picked.picks)
        in_place = in_place_of(problem.graph, chosen, problem.lowered)
        placed = memory.plan(
            problem.in_memory(chosen), scratch=problem.scratch(chosen), alignment=ALIGNMENT, in_place=in_place,
            leads=leads_of(problem.graph, chosen, problem.lowered),
        )  # fmt: skip
        taken = list(problem.taken(picked.picks).values())
        arena = max((c.arena_bytes for c in taken), default=0)
        over = choice.sram_bytes(taken, placed.arena_bytes) - limit
        wide = 0 if problem.limits.arena is None else placed.arena_bytes - problem.limits.arena
        if over <= 0 and wide <= 0:
            return picked, placed
        # Packing needs more than what is alive at any time: ask for less until it fits, or nothing does. First for a
        # little less than what these layers have alive, for others may pack better; then for all that is too much.
        assert budgets.sram is not None
        if over > 0:
            less = choice.sram_bytes(taken) - ALIGNMENT if tries < _FINE_TRIES else budgets.sram - over
            budgets = dataclasses.replace(budgets, sram=min(less, budgets.sram - ALIGNMENT))
        if wide > 0:
            assert budgets.arena is not None
            less = arena - ALIGNMENT if tries < _FINE_TRIES else budgets.arena - wide
            budgets = dataclasses.replace(budgets, arena=min(less, budgets.arena - ALIGNMENT))
    raise AssertionError


def _enough(problem: Problem, what: Literal["sram", "arena"], least: int) -> int:
    """Bytes of SRAM or arena that do if nothing else is limited: the ``least`` that is alive, and what packing adds."""
    # What need not be in RAM would take what is given.
    bare = tuple(
        dataclasses.replace(stage, candidates=tuple(c for c in stage.candidates if c.where == IN_FLASH))
        for stage in problem.stages
    )

    def used(limit: int) -> int | None:
        """What a solution within the limit takes."""
        limits = dataclasses.replace(problem.limits, flash=None, arena=None, sram=_UNLIMITED)
        limits = dataclasses.replace(limits, **{what: limit})
        small = dataclasses.replace(problem, stages=bare, limits=limits)
        found = search(small, "cycles")
        if found is None:
            return None
        picked, placed = found
        taken = list(small.taken(picked.picks).values())
        return placed.arena_bytes if what == "arena" else choice.sram_bytes(taken, placed.arena_bytes)

    more = 0
    while (enough := used(least + more)) is None:
        more = max(2 * more, ALIGNMENT)
    # The search is greedy: what one solution takes is enough if it is found there too.
    return enough if used(enough) is not None else least + more


def _why(problem: Problem, name: str) -> InfeasibleError:
    """What does not fit, by how many bytes, where, and what would help."""
    graph, stages, plain, limits = problem.graph, problem.stages, problem.plain, problem.limits
    positions = problem.positions
    assert limits.sram is not None
    assert limits.flash is not None
    if limits.arena is not None:
        alive, widest = choice.least_arena(stages, plain)
        arena = _enough(problem, "arena", alive)
        if arena > limits.arena:
            return InfeasibleError(
                f"{name} needs an arena of {arena:,} bytes, {arena - limits.arena:,} more than the "
                f"{limits.arena:,} given: {graph.place(graph.operators[positions[widest]])} sets the peak"
            )
    alive, peak = choice.least_sram(stages, plain)
    sram = _enough(problem, "sram", alive)
    where = graph.place(graph.operators[positions[peak]])
    if sram > limits.sram:
        return InfeasibleError(
            f"{name} needs {sram:,} bytes of SRAM, {sram - limits.sram:,} more than the {limits.sram:,} given: "
            f"{where} sets the peak, with the kernel that takes least; smaller images or fewer channels there, or "
            f"--sram {sram} on a larger machine, would do"
        )
    try:
        flash = choice.least_flash(stages, plain, limits)
    except InfeasibleError:
        return InfeasibleError(
            f"{name} does not fit {limits.sram:,} bytes of SRAM: {where} needs {sram:,} with the kernels that take "
            f"least, but they do not agree on formats or do not pack; a little more --sram would do"
        )
    if flash > limits.flash:
        heaviest = max(range(len(stages)), key=lambda i: min(c.plan.flash_bytes for c in stages[i].candidates))
        return InfeasibleError(
            f"{name} needs {flash:,} bytes of flash, {flash - limits.flash:,} more than the {limits.flash:,} given, "
            f"with the kernels that take least: {graph.place(graph.operators[positions[heaviest]])} takes most; fewer "
            f"weights there, or --flash {flash} on a larger machine, would do"
        )
    return InfeasibleError(
        f"{name} fits {limits.flash:,} bytes of flash and {limits.sram:,} of SRAM each, but not both; at least "
        f"{flash:,} of flash are needed with that SRAM, {sram:,} of SRAM without a limit of flash"
    )
