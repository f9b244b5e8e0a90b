"""Solving a network's problem: the best choice of kernels that can be placed, or why there is none.

A choice that does not pack is excluded, with all that asks for as much in the layers that clash, and nothing else
(:mod:`memaopt.choice.conflicts`); the budgets stay what they are. So the first choice that packs is the best of all
that pack, in the problem's order of execution.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal, NamedTuple

from memaopt.choice import choice, labels, unplaced
from memaopt.choice import solver as choice_solver
from memaopt.choice.choice import Budgets, Choice, Proof
from memaopt.choice.clashes import Clash, demand_of
from memaopt.choice.conflicts import explain
from memaopt.choice.label_stages import Price
from memaopt.choice.labels import Least
from memaopt.choice.prices import Prices, price_of
from memaopt.choice.problem import Problem, stack_bytes
from memaopt.errors import DisagreementError, InfeasibleError
from memaopt.memory.plan import MemoryPlan
from memaopt.problems.words import Objective

#: Choices that are excluded one after the other before the search gives up.
_MOST_CLASHES = 600


class Solution(NamedTuple):
    """The best choice that can be placed and where (None: there is none), and why there is no better one."""

    choice: Choice | None
    memory: MemoryPlan | None
    proof: Proof


class _Found(NamedTuple):
    """Picks that can be placed (None: there are none), where, and why there are none better."""

    picks: tuple[int, ...] | None
    placed: MemoryPlan | None
    value: int
    proof: Proof


def solve(problem: Problem, name: str, objective: Objective) -> tuple[Choice, MemoryPlan]:
    """The best choice whose tensors and scratch can be placed within the budgets, and where they are placed."""
    found = search(problem, objective)
    if found.choice is None or found.memory is None:
        raise why_not(problem, name)
    return found.choice, found.memory


def search(problem: Problem, objective: Objective, below: int | None = None) -> Solution:
    """What :func:`solve` returns, without asking why nothing fits; only prices below ``below`` if that is given."""
    found = _best(problem, "price", objective, below=below)
    if found.picks is None or found.placed is None:
        return Solution(None, None, found.proof)
    bound = found.value if found.proof != "none" else lower_bound(problem, objective)
    return Solution(Choice(found.picks, found.value, bound, found.proof), _reordered(problem, found), found.proof)


def weakest(*proofs: Proof) -> Proof:
    """What is proven of several spaces together."""
    return max(proofs, key=("enumeration", "solver", "none").index)


def lower_bound(problem: Problem, objective: Objective) -> int:
    """A price that no choice is below, found without looking at each."""
    return labels.lower_bound(problem.stages, problem.plain, problem.limits, price_of(objective))


def cheaper(problem: Problem, objective: Objective, price: int) -> int | Literal["unknown"] | None:
    """The price of the best choice below ``price`` that can be placed, None if an exhaustive search shows that there is
    none, ``unknown`` where it gives up. No solver is asked.
    """
    found = _best(problem, "price", objective, below=price, solver=False)
    if found.picks is not None:
        return found.value
    return None if found.proof == "enumeration" else "unknown"


def _best(
    problem: Problem,
    least: Least,
    objective: Objective | None = None,
    *,
    below: int | None = None,
    solver: bool = True,
) -> _Found:
    """The choice of the least value that can be placed."""
    if not problem.stages:
        return _nothing_to_choose(problem, least, below)
    clashes: list[Clash] = []
    proof: Proof = "enumeration"
    prices = None if objective is None else Prices(problem.stages, problem.limits, objective)
    while True:
        found = _searched(problem, least, prices, clashes, below)
        if not found.proven:
            if not solver:
                return _Found(None, None, 0, "none")
            if least == "price" and objective is not None:
                found, proof = _by_solver(problem, price_of(objective), clashes, found, proof)
        if found.picks is None:
            return _Found(None, None, 0, proof)
        placed = problem.memory_plan(found.picks, time_limit=5.0 if solver else 0)
        room = room_of(problem, found.picks)
        if least in ("arena", "sram"):
            # What the search found is a bound until it packs into so much.
            taken = list(problem.taken(found.picks).values())
            rest = 0 if least == "arena" else choice.sram_bytes(taken, 0)
            room = min(room, found.value - rest)
        if placed.arena_bytes <= room:
            if problem.laid_out(found.picks, placed.arena_bytes):
                return _Found(found.picks, placed, found.value, proof)
            if len(clashes) >= 2 * _MOST_CLASHES:
                return _Found(None, None, 0, "none")
            if placed.proof == "none":
                proof = "none"  # a smaller arena might have a layout
            clashes.append(unplaced.explain(problem, found.picks, placed.arena_bytes))
            continue
        if least in ("arena", "sram"):
            room = min(room, placed.arena_bytes - 1)
        clash = explain(problem, found.picks, room, placed.arena_bytes)
        if clash is None or len(clashes) >= _MOST_CLASHES:
            if not solver:
                return _Found(None, None, 0, "none")
            # Only the solver says that it does not pack, or nobody does: then there may be a better choice.
            proof = "solver" if placed.proof != "none" and proof != "none" else "none"
            demands = tuple(demand_of(plan) for plan in problem.chosen(found.picks).values())
            clash = Clash(0, demands, placed.arena_bytes)
        clashes.append(clash)


def _searched(
    problem: Problem, least: Least, prices: Prices | None, clashes: Sequence[Clash], below: int | None
) -> labels.Found:
    """What the exact search finds when everything in it has its price; most of it gets it from quicker searches."""
    # What clashes has its price already.
    while prices is not None and not clashes:
        likely = labels.likely(problem.stages, problem.plain, problem.limits, prices, clashes)
        if likely is None:
            break
        picks, prices.short = likely
        if prices.settle(picks):
            break
    return labels.search(
        problem.stages,
        problem.plain,
        problem.limits,
        price=prices,
        least=least,
        clashes=clashes,
        below=below,
        settle=None if prices is None else prices.settle,
    )


def _nothing_to_choose(problem: Problem, least: Least, below: int | None) -> _Found:
    """What :func:`_best` finds for a network that runs no layer: its tensors are placed, and fit the budgets or not."""
    limits = problem.limits
    assert limits.sram is not None
    placed = problem.memory_plan(())
    arena = placed.arena_bytes
    taken = {"price": 0, "flash": limits.flash_overhead, "arena": arena, "sram": arena + stack_bytes(())}
    budgets = {"flash": limits.flash, "arena": limits.arena, "sram": limits.sram}
    fits = all(most is None or taken[what] <= most for what, most in budgets.items())
    if fits and (below is None or taken[least] < below) and problem.laid_out((), arena):
        return _Found((), placed, taken[least], "enumeration")
    return _Found(None, None, 0, "enumeration")


def _by_solver(
    problem: Problem, price: Price, clashes: list[Clash], found: labels.Found, proof: Proof
) -> tuple[labels.Found, Proof]:
    """What CP-SAT says where the exact search gave up: the better of both."""
    if proof == "none":
        return found, proof
    solved = choice_solver.solve(problem.stages, problem.plain, problem.limits, price, clashes)
    bound = max(found.bound, solved.bound)
    if solved.picks is not None and (found.picks is None or solved.value < found.value):
        found = labels.Found(solved.picks, solved.value, bound, False)
    if found.picks is not None and found.value < bound:
        raise DisagreementError(f"a choice of {found.value} is below what the solver and the search call the least")
    finished = solved.proven or (found.picks is not None and found.value == bound)
    return found._replace(bound=bound), "solver" if finished else "none"


def room_of(problem: Problem, picks: tuple[int, ...]) -> int:
    """The bytes of arena that the budgets leave a choice."""
    taken, limits = list(problem.taken(picks).values()), problem.limits
    assert limits.sram is not None
    left = limits.sram - choice.sram_bytes(taken, 0)
    return left if limits.arena is None else min(left, limits.arena)


def _reordered(problem: Problem, found: _Found) -> MemoryPlan:
    """The memory plan in the order that suits the choice best, if that is smaller."""
    assert found.picks is not None
    assert found.placed is not None
    other = problem.memory_plan(found.picks, reorder=True)
    if other.arena_bytes < found.placed.arena_bytes:
        return other
    proven = other.order_proven and other.lower_bound == found.placed.lower_bound
    return found.placed.model_copy(update={"order_proven": proven})


def _unlimited(problem: Problem, **limits: int | None) -> Problem:
    """The problem with budgets that nothing exceeds, but for those given."""
    free = Budgets(sram=1 << 40, flash_overhead=problem.limits.flash_overhead)
    return dataclasses.replace(problem, limits=dataclasses.replace(free, **limits), mcu=None)  # type: ignore[arg-type]


def least_budgets(problem: Problem) -> tuple[int, int]:
    """Bytes of SRAM and of flash that would do, each without a limit of the other."""
    free = _unlimited(problem)
    return _best(free, "sram").value, _best(free, "flash").value


def why_not(problem: Problem, name: str) -> InfeasibleError:
    """What does not fit, by how many bytes, where, and what would help."""
    graph, limits, positions = problem.graph, problem.limits, problem.positions
    assert limits.sram is not None
    assert limits.flash is not None

    def peak(found: _Found) -> str:
        assert found.placed is not None
        if not graph.operators:
            return "what goes in and comes out"
        return graph.place(graph.operators[found.placed.peak_operator])

    if limits.arena is not None:
        smallest = _best(_unlimited(problem), "arena")
        if smallest.value > limits.arena:
            return InfeasibleError(
                f"{name} needs an arena of {smallest.value:,} bytes, {smallest.value - limits.arena:,} more than the "
                f"{limits.arena:,} given: {peak(smallest)} sets the peak"
            )
    smallest = _best(_unlimited(problem, arena=limits.arena), "sram")
    sram = smallest.value
    if sram > limits.sram:
        return InfeasibleError(
            f"{name} needs {sram:,} bytes of SRAM, {sram - limits.sram:,} more than the {limits.sram:,} given: "
            f"{peak(smallest)} sets the peak, with the kernel that takes least; smaller images or fewer channels "
            f"there, or --sram {sram} on a larger machine, would do"
        )
    lightest = _best(dataclasses.replace(problem, limits=dataclasses.replace(limits, flash=None)), "flash")
    flash = lightest.value
    if lightest.picks is not None and flash > limits.flash:
        needs = f"{name} needs {flash:,} bytes of flash, {flash - limits.flash:,} more than the {limits.flash:,} given"
        stages = problem.stages
        if not stages:
            return InfeasibleError(f"{needs}, without a single kernel: --flash {flash} on a larger machine would do")
        heaviest = max(range(len(stages)), key=lambda i: min(c.plan.flash_bytes for c in stages[i].candidates))
        return InfeasibleError(
            f"{needs}, with the kernels that take least: {graph.place(graph.operators[positions[heaviest]])} takes "
            f"most; fewer weights there, or --flash {flash} on a larger machine, would do"
        )
    return InfeasibleError(
        f"{name} fits {limits.flash:,} bytes of flash and {limits.sram:,} of SRAM each, but not both; at least "
        f"{flash:,} of flash are needed with that SRAM, {sram:,} of SRAM without a limit of flash"
    )
