"""Solving a network's problem: the best choice of kernels that can be placed, or why there is none.

The search (:mod:`memaopt.choice.best`) excludes what cannot be placed and nothing else, so the first choice that packs
is the best of all that pack, in the problem's order of execution.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Literal, NamedTuple

from memaopt.choice import labels
from memaopt.choice.best import Best, Search, best_of
from memaopt.choice.choice import Budgets, Choice, Proof
from memaopt.choice.partition import Partitions
from memaopt.choice.prices import Prices
from memaopt.choice.problem import MOST_CHAINED, Problem, allowance, left_by_project
from memaopt.errors import InfeasibleError
from memaopt.memory.plan import MemoryPlan
from memaopt.problems.words import Objective
from memaopt.spelling import option


class Solution(NamedTuple):
    """The best choice that can be placed and where (None: there is none), and why there is no better one; ``bound``:
    :func:`lower_bound`, if that was found by the way."""

    choice: Choice | None
    memory: MemoryPlan | None
    proof: Proof
    bound: int | None = None


def solve(problem: Problem, name: str, objective: Objective) -> tuple[Choice, MemoryPlan]:
    """The best choice whose tensors and scratch can be placed within the budgets, and where they are placed."""
    found = search(problem, objective)
    if found.choice is None or found.memory is None:
        raise why_not(problem, name)
    return found.choice, found.memory


def search(
    problem: Problem,
    objective: Objective,
    below: int | None = None,
    *,
    solver: bool = True,
    known: Prices | None = None,
) -> Solution:
    """What :func:`solve` returns, without asking why nothing fits; only prices below ``below`` if that is given.

    Where nothing is proven the bound is 0. Without the ``solver`` there is no choice where the search gives up.
    ``known``: prices of the candidates, which are added to.
    """
    found = best_of(problem, "price", objective, below=below, solver=solver, known=known)
    if found.picks is None or found.placed is None:
        return Solution(None, None, found.proof)
    bound = found.value if found.proof != "none" else 0
    taken = Choice(found.picks, found.value, bound, found.proof)
    return Solution(taken, reordered(problem, found.picks, found.placed), found.proof, found.bound)


def lower_bound(problem: Problem, objective: Objective) -> int:
    """A price that no choice is below, found without looking at each."""
    search = Search(problem, "price", objective, solver=False)
    search.settle_likely()
    assert search.prices is not None
    return labels.lower_bound(search.offers, search.prices)


def cheaper(problem: Problem, objective: Objective, price: int) -> int | Literal["unknown"] | None:
    """The price of the best choice below ``price`` that can be placed, None if an exhaustive search shows that there is
    none, ``unknown`` where it gives up. No solver is asked.
    """
    found = best_of(problem, "price", objective, below=price, solver=False)
    if found.picks is not None:
        return found.value
    return None if found.proof == "enumeration" else "unknown"


def sram_binds(problems: Iterable[Problem], objective: Objective, price: int) -> bool:
    """Whether a choice below a price, the least that there is, is found where there is as much SRAM as it takes; of
    networks of more operators than chains are looked for in that is not asked."""
    few = (p for p in problems if len(p.graph.operators) <= MOST_CHAINED)
    more = (dataclasses.replace(p, limits=dataclasses.replace(p.limits, sram=1 << 40), mcu=None) for p in few)
    return any(best_of(each, "price", objective, below=price, solver=False).picks is not None for each in more)


def reordered(problem: Problem, picks: tuple[int, ...], placed: MemoryPlan) -> MemoryPlan:
    """The memory plan in the order that suits the choice best, if that is smaller than where it was ``placed``."""
    other = problem.memory_plan(picks, reorder=True)
    if other.arena_bytes < placed.arena_bytes:
        return other
    proven = other.order_proven and other.lower_bound == placed.lower_bound
    return placed.model_copy(update={"order_proven": proven})


def unlimited(problem: Problem, **limits: int | None) -> Problem:
    """The problem with budgets that nothing exceeds, but for those given."""
    free = Budgets(sram=1 << 40, flash_overhead=problem.limits.flash_overhead)
    return dataclasses.replace(problem, limits=dataclasses.replace(free, **limits), mcu=None)  # type: ignore[arg-type]


def least_budgets(problem: Problem) -> tuple[int | None, int | None]:
    """Bytes of SRAM and of flash that would do, each without a limit of the other; None where the search gives up."""
    free = unlimited(problem)
    sram, flash = best_of(free, "sram"), best_of(free, "flash")
    return None if sram.picks is None else sram.value, None if flash.picks is None else flash.value


def _given(problem: Problem, what: Literal["flash", "sram"], needed: int) -> str:
    """The option that would do, and whether it takes a larger machine."""
    there = None if problem.mcu is None else left_by_project(problem.mcu, problem.graph)[what == "sram"]
    asked = option(what, needed)
    return asked if there is not None and needed <= there else f"{asked} on a larger machine"


def _more(problem: Problem, what: Literal["flash", "sram"], limit: int, needed: int) -> str:
    """By how many bytes what is needed is beyond a budget, and whose that is."""
    there, whose = allowance(what, limit, problem.mcu, problem.graph)
    return f"{needed - there:,} more than the {there:,} {whose}"


def why_not(problem: Problem, name: str) -> InfeasibleError:
    """What does not fit, by how many bytes, where, and what would help."""
    graph, limits, positions = problem.graph, problem.limits, problem.positions
    assert limits.sram is not None
    assert limits.flash is not None

    def peak(found: Best) -> str:
        assert found.placed is not None
        if not graph.operators:
            return "what goes in and comes out"
        return graph.place(graph.operators[found.placed.peak_operator])

    chained = Partitions(problem, "cycles")
    if limits.arena is not None:
        smallest = best_of(unlimited(problem), "arena")
        deep = chained.smallest() if smallest.value > limits.arena else None
        if deep is not None and limits.arena < deep.value < smallest.value:
            return InfeasibleError(
                f"{name} needs an arena of {deep.value:,} bytes, {deep.value - limits.arena:,} more than the "
                f"{limits.arena:,} given, even where layers are computed depth first"
            )
        if smallest.value > limits.arena:
            tried = "" if deep is None or deep.value > limits.arena else "; depth first none was found that packs"
            return InfeasibleError(
                f"{name} needs an arena of {smallest.value:,} bytes, {smallest.value - limits.arena:,} more than the "
                f"{limits.arena:,} given{', layer by layer' * bool(tried)}: {peak(smallest)} sets the peak{tried}"
            )
    smallest = best_of(unlimited(problem, arena=limits.arena), "sram")
    sram = smallest.value
    deep = chained.smallest("sram_bytes") if sram > limits.sram else None
    if deep is not None and limits.sram < deep.value < sram:
        return InfeasibleError(
            f"{name} needs at least {deep.value:,} bytes of SRAM, {_more(problem, 'sram', limits.sram, deep.value)}, "
            f"even where layers are computed depth first; smaller images, fewer channels or more SRAM would do"
        )
    if sram > limits.sram:
        return InfeasibleError(
            f"{name} needs {sram:,} bytes of SRAM, {_more(problem, 'sram', limits.sram, sram)}: "
            f"{peak(smallest)} sets the peak, with the kernel that takes least; smaller images or fewer channels "
            f"there, or {_given(problem, 'sram', sram)}, would do"
        )
    lightest = best_of(dataclasses.replace(problem, limits=dataclasses.replace(limits, flash=None)), "flash")
    flash = lightest.value
    if lightest.picks is not None and flash > limits.flash:
        needs = f"{name} needs {flash:,} bytes of flash, {_more(problem, 'flash', limits.flash, flash)}"
        stages = problem.stages
        if not stages:
            return InfeasibleError(f"{needs}, without a single kernel: {_given(problem, 'flash', flash)} would do")
        heaviest = max(range(len(stages)), key=lambda i: min(c.flash_bytes for c in stages[i].candidates))
        return InfeasibleError(
            f"{needs}, with the kernels that take least: {graph.place(graph.operators[positions[heaviest]])} takes "
            f"most; fewer weights there, or {_given(problem, 'flash', flash)}, would do"
        )
    return InfeasibleError(
        f"{name} fits {limits.flash:,} bytes of flash and {limits.sram:,} of SRAM each, but not both; at least "
        f"{flash:,} of flash are needed with that SRAM, {sram:,} of SRAM without a limit of flash"
    )
