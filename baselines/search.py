"""Search-based tilers: what one uses where no optimum is known, over the very space and cost that memaopt certifies.

Every tiler asks for the price of one schedule at a time and returns the best it met; none knows how good that is,
or when to stop. All are seeded and deterministic.
"""

import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from memaopt.kernels.gemm.families import GemmFamily, RegisterTile
from memaopt.kernels.schedule import IN_BLOCKS, ORDERS, Schedule, Space
from memaopt.models.feasibility import why_infeasible
from memaopt.models.prices import price_of
from memaopt.models.walks import WalkChoice, choices, turning_choices
from memaopt.problems.gemm import OPERANDS

Cost = tuple[int, ...]


class Genes(NamedTuple):
    """A schedule as a point to vary: index of its walk (order and hold levels), MC, KC, NC, index of its kernel."""

    walk: int
    mc: int
    kc: int
    nc: int
    kernel: int


def walks(where: Space) -> tuple[WalkChoice, ...]:
    """The loop orders with tiles held for a block, then whatever else can be best."""
    plain = [WalkChoice(order, IN_BLOCKS) for order in ORDERS]
    some = (each for x in OPERANDS for each in (*choices(where, x), *turning_choices(where, x)))
    others = {*some} - {*plain}
    return *plain, *sorted(others)


class Found(NamedTuple):
    """The best schedule that a search met.

    ``cost`` is None if it met no feasible one. ``best_at`` is the number of the evaluation that found it, and
    ``seconds`` the host's time for all ``evaluations``.
    """

    tiler: str
    cost: Cost | None
    schedule: Schedule | None
    evaluations: int
    best_at: int
    seconds: float


class Evaluator:
    """Prices points of a space, counts, and remembers the best."""

    def __init__(self, where: Space, budget: int) -> None:
        self.where, self.budget, self.evaluations, self.best_at = where, budget, 0, 0
        self.walks = walks(where)
        self.sizes = (len(self.walks), where.problem.m, where.problem.k, where.problem.n, len(where.kernels))
        self.cost: Cost | None = None
        self.schedule: Schedule | None = None
        self._some = where.schedule(ORDERS[0], IN_BLOCKS, False, (1, 1, 1), *where.kernels[0])

    @property
    def exhausted(self) -> bool:
        """Whether the budget of evaluations is used up."""
        return self.evaluations >= self.budget

    def __call__(self, genes: Genes) -> Cost | None:
        """The cost at a point, None if it is infeasible."""
        self.evaluations += 1
        schedule = self._schedule(genes)
        if why_infeasible(self.where, schedule) is not None:
            return None
        cost = price_of(self.where, schedule)
        if self.cost is None or cost < self.cost:
            self.cost, self.schedule, self.best_at = cost, schedule, self.evaluations
        return cost

    def anywhere(self, rng: random.Random) -> Genes:
        """A point drawn uniformly; block sizes uniformly on a logarithmic scale."""
        walk, m, k, n, kernel = self.sizes
        mc, kc, nc = (min(size, int(math.exp(rng.uniform(0, math.log(size + 1))))) for size in (m, k, n))
        return Genes(rng.randrange(walk), mc, kc, nc, rng.randrange(kernel))

    def near(self, genes: Genes, rng: random.Random) -> Genes:
        """A neighbour: one gene changed, a block size by one, by a factor, or to any."""
        i = rng.randrange(len(genes))
        size = self.sizes[i]
        if i in (0, 4):
            value = rng.randrange(size)
        else:
            step = (genes[i] + 1, genes[i] - 1, 2 * genes[i], genes[i] // 2, size, rng.randint(1, size))
            value = min(max(rng.choice(step), 1), size)
        return genes._replace(**{Genes._fields[i]: value})

    def _schedule(self, genes: Genes) -> Schedule:
        family, tile = self.where.kernels[genes.kernel]
        order, hold, turning = self.walks[genes.walk]
        # Every value is in range by construction, and validating each candidate would take most of the time.
        return self._some.model_copy(
            update={
                "order": order,
                "hold": hold,
                "turning": turning,
                "mc": genes.mc,
                "kc": genes.kc,
                "nc": genes.nc,
                "kernel": family.name,
                "mr": tile.mr,
                "kr": tile.kr,
                "nr": tile.nr,
            }
        )


def random_search(evaluate: Evaluator, rng: random.Random) -> None:
    """Points drawn independently."""
    while not evaluate.exhausted:
        evaluate(evaluate.anywhere(rng))


def annealing(evaluate: Evaluator, rng: random.Random) -> None:
    """Simulated annealing on the logarithm of the cost, cooling geometrically over the budget.

    It ends where a hundredth more is taken at one in three: colder, it sits in the first valley for most of the budget.
    """
    here, cost = _feasible(evaluate, rng)
    hot, cold = 1.0, 1e-2
    while not evaluate.exhausted:
        temperature = hot * (cold / hot) ** (evaluate.evaluations / evaluate.budget)
        there = evaluate.near(here, rng)
        found = evaluate(there)
        if found is None:
            continue
        worse = _energy(found) - _energy(cost)
        if worse <= 0 or rng.random() < math.exp(-worse / temperature):
            here, cost = there, found


def genetic(evaluate: Evaluator, rng: random.Random, population: int = 40) -> None:
    """A steady-state genetic algorithm: tournaments of three, uniform crossover, one mutation in two children."""
    people = [_feasible(evaluate, rng) for _ in range(min(population, max(2, evaluate.budget // 4)))]
    while not evaluate.exhausted:
        parents = [min(rng.sample(people, min(3, len(people))), key=lambda p: p[1])[0] for _ in range(2)]
        child = Genes(*(rng.choice(pair) for pair in zip(*parents, strict=True)))
        if rng.random() < 0.5 or child in parents:
            child = evaluate.near(child, rng)
        cost = evaluate(child)
        worst = max(range(len(people)), key=lambda i: people[i][1])
        if cost is not None and cost < people[worst][1]:
            people[worst] = (child, cost)


def grid(evaluate: Evaluator, rng: random.Random) -> None:
    """Blocks and register tiles of powers of two (or a whole dimension), in every loop order, held for a block."""
    del rng
    for genes in grid_points(evaluate.where):
        if evaluate.exhausted:
            return
        evaluate(genes)


def grid_points(where: Space) -> Iterator[Genes]:
    """The grid's points; of the register tiles, those that the registers let grow in no direction."""
    kernels = [i for i, kernel in enumerate(where.kernels) if _largest(kernel, where.kernels)]
    blocks = (_powers(where.problem.m), _powers(where.problem.k), _powers(where.problem.n))
    for kernel in kernels:
        for mc in blocks[0]:
            for kc in blocks[1]:
                for nc in blocks[2]:
                    for walk in range(len(ORDERS)):
                        yield Genes(walk, mc, kc, nc, kernel)


TILERS: dict[str, Callable[[Evaluator, random.Random], None]] = {
    "random": random_search,
    "annealing": annealing,
    "genetic": genetic,
    "grid": grid,
}


def search(tiler: str, where: Space, budget: int, seed: int = 0) -> Found:
    """Let ``tiler`` search ``where`` with at most ``budget`` evaluations."""
    evaluate, start = Evaluator(where, budget), time.perf_counter()
    TILERS[tiler](evaluate, random.Random(f"{tiler} {seed}"))
    spent = time.perf_counter() - start
    return Found(tiler, evaluate.cost, evaluate.schedule, evaluate.evaluations, evaluate.best_at, spent)


def _feasible(evaluate: Evaluator, rng: random.Random) -> tuple[Genes, Cost]:
    """A random feasible point; after some tries the smallest blocks, which fit if anything does."""
    for _ in range(50):
        genes = evaluate.anywhere(rng)
        cost = evaluate(genes)
        if cost is not None:
            return genes, cost
    walks, _, _, _, kernels = evaluate.sizes
    for kernel in rng.sample(range(kernels), kernels):
        for kc in (1, evaluate.where.problem.k):
            for walk in rng.sample(range(walks), walks):
                genes = Genes(walk, 1, kc, 1, kernel)
                cost = evaluate(genes)
                if cost is not None:
                    return genes, cost
    raise ValueError("the space holds no schedule: the certificate's models find that out first")


def _energy(cost: Cost) -> float:
    """A lexicographic cost as one number: each part counts a thousandth of the one before."""
    return sum((math.log(part + 1) / 1000.0**i for i, part in enumerate(cost)), 0.0)


def _largest(kernel: tuple[GemmFamily, RegisterTile], kernels: Sequence[tuple[GemmFamily, RegisterTile]]) -> bool:
    """Whether the tile has powers of two for sizes, and no other such tile of its family is as large in all of them."""

    def is_power(tile: RegisterTile) -> bool:
        return all(size & (size - 1) == 0 for size in tile)

    family, tile = kernel
    others = (other for of, other in kernels if of.name == family.name and other != tile and is_power(other))
    return is_power(tile) and not any(all(a <= b for a, b in zip(tile, other, strict=True)) for other in others)


def _powers(size: int) -> list[int]:
    """The powers of two below ``size``, and ``size``."""
    return [*(1 << i for i in range((size - 1).bit_length())), size]
