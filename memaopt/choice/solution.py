"""Solving a network's problem: the best choice of kernels that can be placed, or why there is none.

A choice that does not pack is excluded, with all that asks for as much in the layers that clash, and nothing else
(:mod:`memaopt.choice.conflicts`); the budgets stay what they are. So the first choice that packs is the best of all
that pack, in the problem's order of execution.
"""

from __future__ import annotations

import dataclasses
from typing import Literal, NamedTuple

from memaopt.choice import choice, labels, unplaced
from memaopt.choice import solver as choice_solver
from memaopt.choice.choice import Budgets, Choice, Proof
from memaopt.choice.clashes import Clash, demand_of
from memaopt.choice.conflicts import explain
from memaopt.choice.label_walk import Found, Least
from memaopt.choice.offers import Offers
from memaopt.choice.partition import Partitions
from memaopt.choice.prices import Prices
from memaopt.choice.problem import Problem, left_by_project, stack_bytes
from memaopt.errors import DisagreementError, InfeasibleError
from memaopt.memory.plan import MemoryPlan
from memaopt.problems.words import Objective

#: Choices that are excluded one after the other before the search gives up, and the solver's deterministic time.
_MOST_CLASHES = 600
_SOLVER_UNITS = 5.0
#: Candidates that are left to choose from, above which the solver is not asked: it would not finish.
_MOST_FOR_SOLVER = 1000
#: Candidates that are left, above which they are not all priced where the search gives up.
_MOST_TO_PRICE = 700


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
    found = _best(problem, "price", objective, below=below, solver=solver, known=known)
    if found.picks is None or found.placed is None:
        return Solution(None, None, found.proof)
    bound = found.value if found.proof != "none" else 0
    return Solution(Choice(found.picks, found.value, bound, found.proof), _reordered(problem, found), found.proof)


def weakest(*proofs: Proof) -> Proof:
    """What is proven of several spaces together."""
    return max(proofs, key=("enumeration", "solver", "none").index)


def lower_bound(problem: Problem, objective: Objective) -> int:
    """A price that no choice is below, found without looking at each."""
    search = _Search(problem, "price", objective, solver=False)
    search.settle_likely()
    assert search.prices is not None
    return labels.lower_bound(search.offers, search.prices)


def cheaper(problem: Problem, objective: Objective, price: int) -> int | Literal["unknown"] | None:
    """The price of the best choice below ``price`` that can be placed, None if an exhaustive search shows that there is
    none, ``unknown`` where it gives up. No solver is asked.
    """
    found = _best(problem, "price", objective, below=price, solver=False)
    if found.picks is not None:
        return found.value
    return None if found.proof == "enumeration" else "unknown"


class _Search:
    """A search for one value that is to be the least: what is known of prices, and what was found to clash.

    ``proof`` is what the clashes rest on. There are ``exhausted`` so many that nothing more is to be found.
    """

    def __init__(
        self, problem: Problem, least: Least, objective: Objective | None, solver: bool, known: Prices | None = None
    ) -> None:
        self.problem, self.least, self.solver = problem, least, solver
        self.clashes: list[Clash] = []
        self.proof: Proof = "enumeration"
        self.exhausted = False
        #: What :meth:`settle_left` found left below a value, where all prices stayed; until something clashes.
        self.looked: tuple[int, list[tuple[int, ...]]] | None = None
        self.offers = Offers(problem.stages, problem.plain, problem.limits)
        self.prices = None if objective is None else Prices(problem.stages, problem.limits, objective, known)

    def searched(self, below: int | None, whole: bool) -> Found:
        """What the exact search finds when everything in it has its price; most of it gets it from quicker searches."""
        prices = self.prices
        # What clashes has its price already.
        if not self.clashes:
            self.settle_likely(below)
        elif prices is not None and "arena" not in prices.short:
            prices.short = (*prices.short, "arena")
        return labels.search(
            self.offers,
            price=prices,
            least=self.least,
            clashes=self.clashes,
            below=below,
            settle=None if prices is None else prices.settle,
            whole=whole,
        )

    def settle_likely(self, below: int | None = None) -> None:
        """Price what is in quickly found choices near the best (and below a price, if one is given), until all in them
        has its price."""
        prices = self.prices
        while prices is not None:
            likely = labels.likely(self.offers, prices, below)
            if likely is None:
                break
            picks, prices.short = likely
            if prices.settle(picks):
                break

    def settle_left(self, below: int | None) -> bool:
        """Price all that may be below a value, where that is not much; whether something had no price yet."""
        if self.prices is None or below is None:
            return False
        left = labels.left(self.offers, self.prices, self.clashes, below)
        if sum(map(len, left)) <= _MOST_TO_PRICE and not self.prices.settle_all(left):
            return True
        self.looked = below, left
        return False

    def placed(self, picks: tuple[int, ...], value: int) -> MemoryPlan | None:
        """Where a choice lies; None if it cannot be placed, which is a clash from then on."""
        problem, least = self.problem, self.least
        plan = problem.memory_plan(picks, time_limit=5.0 if self.solver else 0)
        room = room_of(problem, picks)
        if least in ("arena", "sram"):
            # What the search found is a bound until it packs into so much.
            taken = list(problem.taken(picks).values())
            rest = 0 if least == "arena" else choice.sram_bytes(taken, 0)
            room = min(room, value - rest)
        if plan.arena_bytes <= room:
            if problem.laid_out(picks, plan.arena_bytes):
                return plan
            self.exhausted = len(self.clashes) >= 2 * _MOST_CLASHES
            if plan.proof == "none":
                self.proof = "none"  # a smaller arena might have a layout
            self.clashes.append(unplaced.explain(problem, picks, plan.arena_bytes))
            return None
        if least in ("arena", "sram"):
            room = min(room, plan.arena_bytes - 1)
        clash = explain(problem, picks, room, plan.arena_bytes)
        if clash is None or len(self.clashes) >= _MOST_CLASHES:
            self.exhausted = not self.solver
            # Only the solver says that it does not pack, or nobody does: then there may be a better choice.
            self.proof = "none" if plan.proof == "none" else weakest(self.proof, "solver")
            demands = tuple(demand_of(plan) for plan in problem.chosen(picks).values())
            clash = Clash(0, demands, plan.arena_bytes)
        self.clashes.append(clash)
        return None

    def by_solver(self, known: _Found, bound: int) -> _Found:
        """What CP-SAT finds below what is known (no picks: at all), of what the bounds leave, for so long."""
        assert self.prices is not None
        problem, units = self.problem, _SOLVER_UNITS
        below = None if known.picks is None else known.value
        while units > 0:
            left = self._left(below)
            if left is None:
                break
            if not left:
                return known._replace(proof=self.proof)
            stages = [
                dataclasses.replace(stage, candidates=tuple(stage.candidates[j] for j in kept))
                for stage, kept in zip(problem.stages, left, strict=True)
            ]
            args = stages, problem.plain, problem.limits, self.prices, self.clashes, units, below
            solved = choice_solver.solve(*args)
            units -= solved.units
            if solved.picks is None:
                return known._replace(proof=weakest(self.proof, "solver" if solved.proven else "none"))
            if solved.value < bound:
                raise DisagreementError(f"a choice of {solved.value} is below what the search calls the least, {bound}")
            picks = tuple(kept[j] for kept, j in zip(left, solved.picks, strict=True))
            plan = self.placed(picks, solved.value)
            if plan is not None:
                return _Found(picks, plan, solved.value, weakest(self.proof, "solver" if solved.proven else "none"))
        return known._replace(proof="none")

    def _left(self, below: int | None) -> list[tuple[int, ...]] | None:
        """The candidates that are left to choose from, all with their prices; None if there are too many."""
        prices = self.prices
        assert prices is not None
        while True:
            if self.looked is not None and self.looked[0] == below:
                left = self.looked[1]
            else:
                left = labels.left(self.offers, prices, self.clashes, below)
            self.looked = None
            if below is not None and sum(map(len, left)) > _MOST_FOR_SOLVER:
                return None
            if prices.settle_all(left):
                return left


def _best(
    problem: Problem,
    least: Least,
    objective: Objective | None = None,
    *,
    below: int | None = None,
    solver: bool = True,
    known: Prices | None = None,
) -> _Found:
    """The choice of the least value that can be placed.

    Where the exact search gives up, a good choice that can be placed is found first; then there is less for CP-SAT to
    look at.
    """
    if not problem.stages:
        return _nothing_to_choose(problem, least, below)
    search, best, whole = _Search(problem, least, objective, solver, known), _Found(None, None, 0, "none"), True
    while not search.exhausted:
        found = search.searched(below, whole)
        alone = not found.proven and (found.picks is None or not solver)
        # With prices in place of floors there is less to look at.
        if alone and search.settle_left(below if found.picks is None else found.value):
            continue
        if not found.proven and not solver:
            break
        if found.picks is None and found.proven:
            return best._replace(proof=search.proof)
        plan = None if found.picks is None else search.placed(found.picks, found.value)
        if plan is not None:
            best, below = _Found(found.picks, plan, found.value, search.proof), found.value
            if found.proven:
                return best
        if found.proven or (least != "price" and plan is None and found.picks is not None):
            continue
        if least != "price":
            return best._replace(proof="none")
        if plan is None and found.picks is not None and best.picks is None:
            whole = False
        elif not whole:
            whole = True  # below what is known now, the whole may be little
        elif not search.settle_left(below):
            return search.by_solver(best, found.bound)
    return best._replace(proof="none")


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


def least_budgets(problem: Problem) -> tuple[int | None, int | None]:
    """Bytes of SRAM and of flash that would do, each without a limit of the other; None where the search gives up."""
    free = _unlimited(problem)
    sram, flash = _best(free, "sram"), _best(free, "flash")
    return None if sram.picks is None else sram.value, None if flash.picks is None else flash.value


def _given(problem: Problem, what: Literal["flash", "sram"], needed: int) -> str:
    """The option that would do, and whether it takes a larger machine."""
    there = None if problem.mcu is None else left_by_project(problem.mcu, problem.graph)[what == "sram"]
    return f"--{what} {needed}" if there is not None and needed <= there else f"--{what} {needed} on a larger machine"


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

    chained = Partitions(problem, "cycles")
    if limits.arena is not None:
        smallest = _best(_unlimited(problem), "arena")
        deep = chained.smallest() if smallest.value > limits.arena else None
        if deep is not None and limits.arena < deep.value < smallest.value:
            return InfeasibleError(
                f"{name} needs an arena of {deep.value:,} bytes, {deep.value - limits.arena:,} more than the "
                f"{limits.arena:,} given, even where layers are computed depth first"
            )
        if smallest.value > limits.arena:
            return InfeasibleError(
                f"{name} needs an arena of {smallest.value:,} bytes, {smallest.value - limits.arena:,} more than the "
                f"{limits.arena:,} given: {peak(smallest)} sets the peak"
            )
    smallest = _best(_unlimited(problem, arena=limits.arena), "sram")
    sram = smallest.value
    deep = chained.smallest("sram_bytes") if sram > limits.sram else None
    if deep is not None and limits.sram < deep.value < sram:
        return InfeasibleError(
            f"{name} needs at least {deep.value:,} bytes of SRAM, {deep.value - limits.sram:,} more than the "
            f"{limits.sram:,} given, even where layers are computed depth first; smaller images, fewer "
            f"channels or more SRAM would do"
        )
    if sram > limits.sram:
        return InfeasibleError(
            f"{name} needs {sram:,} bytes of SRAM, {sram - limits.sram:,} more than the {limits.sram:,} given: "
            f"{peak(smallest)} sets the peak, with the kernel that takes least; smaller images or fewer channels "
            f"there, or {_given(problem, 'sram', sram)}, would do"
        )
    lightest = _best(dataclasses.replace(problem, limits=dataclasses.replace(limits, flash=None)), "flash")
    flash = lightest.value
    if lightest.picks is not None and flash > limits.flash:
        needs = f"{name} needs {flash:,} bytes of flash, {flash - limits.flash:,} more than the {limits.flash:,} given"
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
