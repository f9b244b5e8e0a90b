"""The choice of the least value that can be placed: found, placed, and excluded where it cannot be.

A choice that does not pack is excluded, with all that asks for as much in the layers that clash, and nothing else
(:mod:`memaopt.choice.conflicts`). Where code in RAM and a layer's constants leave no place for an arena of such a size,
whatever else is there, choices are divided: those with a smaller arena, those with less code, with fewer constants.
"""

from __future__ import annotations

import dataclasses
import heapq
import itertools
from typing import NamedTuple

from memaopt.choice import choice, labels, unplaced
from memaopt.choice import solver as choice_solver
from memaopt.choice.choice import Proof
from memaopt.choice.clashes import Clash, demand_of
from memaopt.choice.conflicts import explain
from memaopt.choice.label_walk import Found, Least
from memaopt.choice.offers import Offers
from memaopt.choice.prices import Prices
from memaopt.choice.problem import Problem
from memaopt.choice.stages import stack_bytes
from memaopt.errors import DisagreementError
from memaopt.memory.plan import MemoryPlan
from memaopt.problems.words import Objective

#: Choices that are excluded one after the other before the search gives up, and the solver's deterministic time.
_MOST_CLASHES = 600
_SOLVER_UNITS = 5.0
#: Candidates that are left to choose from, above which the solver is not asked: it would not finish.
_MOST_FOR_SOLVER = 1000
#: Candidates that are left, above which they are not all priced where the search gives up.
_MOST_TO_PRICE = 700


class Best(NamedTuple):
    """Picks that can be placed (None: there are none), where, and why there are none better; ``hopeless``: a proof was
    not tried, so much is left. ``bound``: what no choice is below, whether it packs or not, where that was found by the
    way with nothing known before."""

    picks: tuple[int, ...] | None
    placed: MemoryPlan | None
    value: int
    proof: Proof
    hopeless: bool = False
    bound: int | None = None


_NOTHING = Best(None, None, 0, "none")


def weakest(*proofs: Proof) -> Proof:
    """What is proven of several spaces together."""
    return max(proofs, key=("enumeration", "solver", "none").index)


class Search:
    """A search for one value that is to be the least: what is known of prices, and what was found to clash.

    ``proof`` is what the clashes rest on. There are ``exhausted`` so many that nothing more is to be found. ``best`` is
    the best that was placed; ``fence`` what ends the search (:func:`memaopt.choice.unplaced.fence`).
    """

    def __init__(
        self, problem: Problem, least: Least, objective: Objective | None, solver: bool, known: Prices | None = None
    ) -> None:
        self.problem, self.least, self.solver = problem, least, solver
        self.clashes: list[Clash] = []
        self.proof: Proof = "enumeration"
        self.exhausted = False
        self.best = _NOTHING
        self.fence: unplaced.Fence | None = None
        #: What nothing at the fence is below.
        self.floor = 0
        #: What :meth:`settle_left` found left below a value, where all prices stayed; until something clashes.
        self.looked: tuple[int, list[tuple[int, ...]]] | None = None
        self.offers = Offers(problem.stages, problem.plain, problem.limits)
        self.prices = None if objective is None else Prices(problem.stages, problem.limits, objective, known)

    def run(self, below: int | None) -> Best:
        """The best choice that can be placed, below a value if one is given; what was found so far at a fence.

        Where the exact search gives up, a good choice that can be placed is found first; then there is less for CP-SAT
        to look at.
        """
        whole = True
        while not self.exhausted:
            found = self.searched(below, whole)
            alone = not found.proven and not found.hopeless and (found.picks is None or not self.solver)
            # With prices in place of floors there is less to look at.
            if alone and self.settle_left(below if found.picks is None else found.value):
                continue
            if not found.proven and not self.solver:
                break
            if found.picks is None and found.proven:
                return self.best._replace(proof=self.proof)
            plan = None if found.picks is None else self.placed(found.picks, found.value)
            if self.fence is not None:
                self.floor = found.value if found.proven else found.bound
                return self.best
            if plan is not None:
                known = self.best._replace(picks=found.picks, placed=plan, value=found.value, proof=self.proof)
                self.best, below = known, found.value
                if found.proven:
                    return self.best
            if found.proven or (self.least != "price" and plan is None and found.picks is not None):
                continue
            if self.least != "price" or (found.hopeless and self.best.picks is not None):
                return self.best._replace(proof="none", hopeless=found.hopeless)
            if plan is None and found.picks is not None and self.best.picks is None:
                whole = False
            elif not whole:
                whole = True  # below what is known now, the whole may be little
            elif not self.settle_left(below):
                return self.by_solver(self.best, found.bound)
        return self.best._replace(proof="none")

    def searched(self, below: int | None, whole: bool) -> Found:
        """What the exact search finds when everything in it has its price; most of it gets it from quicker searches."""
        prices = self.prices
        fresh = prices is not None and prices.fresh
        # What clashes has its price already.
        if not self.clashes:
            self.settle_likely(below)
        elif prices is not None and "arena" not in prices.short:
            prices.short = (*prices.short, "arena")
        walk = None
        if prices is not None and below is None and fresh:
            walk = labels.walk_of(self.offers, (), prices, self.least)
            self.best = self.best._replace(bound=0 if walk.impossible else walk.bound())
        return labels.search(
            self.offers,
            walk=walk,
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
        changed = False
        while True:
            left = labels.left(self.offers, self.prices, self.clashes, below)
            if sum(map(len, left)) > _MOST_TO_PRICE or self.prices.settle_all(left):
                break
            changed = True
        self.looked = below, left
        return changed

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
            self.fence = unplaced.fence(problem, picks, plan.arena_bytes)
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

    def by_solver(self, known: Best, bound: int) -> Best:
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
                proof = weakest(self.proof, "solver" if solved.proven else "none")
                return known._replace(picks=picks, placed=plan, value=solved.value, proof=proof)
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


def best_of(
    problem: Problem,
    least: Least,
    objective: Objective | None = None,
    *,
    below: int | None = None,
    solver: bool = True,
    known: Prices | None = None,
) -> Best:
    """The choice of the least value that can be placed; below a value if one is given."""
    if not problem.stages:
        return _nothing_to_choose(problem, least, below)
    found, proofs, hopeless, bound = _NOTHING, list[Proof](), False, None
    # What is left: a value that none of it is below, the problem, and which candidates of the whole one's it has.
    every = tuple(tuple(range(len(stage.candidates))) for stage in problem.stages)
    left: list[tuple[int, int, Problem, tuple[tuple[int, ...], ...]]] = [(0, 0, problem, every)]
    numbers = itertools.count(1)
    while left and (below is None or left[0][0] < below):
        floor, number, part, kept = heapq.heappop(left)
        search = Search(part, least, objective, solver, known)
        other, known = search.run(below), search.prices
        bound = other.bound if number == 0 else bound
        if other.picks is not None:
            picks = tuple(row[j] for row, j in zip(kept, other.picks, strict=True))
            found, below = other._replace(picks=picks), other.value
        if search.fence is None:
            proofs, hopeless = [*proofs, other.proof], hopeless or other.hopeless
            continue
        for side, here in search.fence.sides(part):
            rows = tuple(tuple(row[j] for j in some) for row, some in zip(kept, here, strict=True))
            heapq.heappush(left, (max(floor, search.floor), next(numbers), side, rows))
    return found._replace(proof=weakest("enumeration", *proofs), hopeless=hopeless, bound=bound)


def _nothing_to_choose(problem: Problem, least: Least, below: int | None) -> Best:
    """What :func:`_best` finds for a network that runs no layer: its tensors are placed, and fit the budgets or not."""
    limits = problem.limits
    assert limits.sram is not None
    placed = problem.memory_plan(())
    arena = placed.arena_bytes
    taken = {"price": 0, "flash": limits.flash_overhead, "arena": arena, "sram": arena + stack_bytes(())}
    budgets = {"flash": limits.flash, "arena": limits.arena, "sram": limits.sram}
    fits = all(most is None or taken[what] <= most for what, most in budgets.items())
    if fits and (below is None or taken[least] < below) and problem.laid_out((), arena):
        return Best((), placed, taken[least], "enumeration")
    return Best(None, None, 0, "enumeration")


def room_of(problem: Problem, picks: tuple[int, ...]) -> int:
    """The bytes of arena that the budgets leave a choice."""
    taken, limits = list(problem.taken(picks).values()), problem.limits
    assert limits.sram is not None
    left = limits.sram - choice.sram_bytes(taken, 0)
    return left if limits.arena is None else min(left, limits.arena)
