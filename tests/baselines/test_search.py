"""Search-based tilers: honest prices, never below the certified optimum, deterministic, within budget."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from models_helpers import machine_with, spaces

from baselines.search import TILERS, Evaluator, grid_points, search
from memaopt.errors import InfeasibleError
from memaopt.kernels.schedule import Space, space
from memaopt.models import closed_form
from memaopt.models.feasibility import why_infeasible
from memaopt.models.prices import price_of
from memaopt.problems.gemm import gemm


def _outside(m: int, k: int, n: int, sram: int, dtype: str = "q15") -> Space:
    problem = gemm(m, k, n, dtype=dtype, placement={"a": "qspi", "b": "qspi", "c": "qspi"})
    return space(problem, machine_with(sram), "bytes")


@settings(max_examples=60, deadline=None)
@given(spaces(most=12), st.sampled_from(sorted(TILERS)), st.integers(0, 3))
def test_no_tiler_beats_the_certified_optimum(where: Space, tiler: str, seed: int) -> None:
    """Catches an optimum that is none, a tiler outside the space, and a price that is not the cost function's."""
    try:
        optimum = closed_form.solve(where).objective
    except InfeasibleError:
        return
    found = search(tiler, where, budget=300, seed=seed)
    if found.cost is not None:
        assert found.schedule is not None
        assert why_infeasible(where, found.schedule) is None
        assert price_of(where, found.schedule) == found.cost
        assert found.cost >= optimum


@pytest.mark.parametrize("tiler", ["random", "annealing", "genetic"])
def test_tilers_reach_the_optimum_of_a_small_space(tiler: str) -> None:
    """Catches tilers that cannot move to parts of the space, which would make them look worse than they are."""
    where = _outside(3, 3, 2, sram=545)
    best = min(search(tiler, where, budget=8000, seed=seed).cost or (1 << 60,) for seed in range(3))
    assert best == closed_form.solve(where).objective


def test_annealing_is_better_than_chance() -> None:
    """Catches an annealer that accepts everything or nothing, the same thing as drawing at random."""
    where = _outside(200, 300, 200, sram=6000)
    external = {
        tiler: sum((search(tiler, where, 4000, seed).cost or (1 << 40,))[0] for seed in range(8))
        for tiler in ("random", "annealing")
    }
    assert external["annealing"] < 0.95 * external["random"]


@pytest.mark.parametrize("tiler", sorted(TILERS))
def test_same_seed_same_search(tiler: str) -> None:
    """Catches an order or a clock that gets into the result; the time is the host's."""
    where = _outside(20, 30, 10, sram=4 << 10, dtype="f32")
    first, second = (search(tiler, where, 500, seed=7)._replace(seconds=0.0) for _ in range(2))
    assert first == second
    assert first.evaluations == 500
    assert 0 < first.best_at <= 500


def test_seeds_differ() -> None:
    """Catches a seed that is ignored."""
    where = _outside(20, 30, 10, sram=4 << 10)
    assert len({search("random", where, 200, seed).best_at for seed in range(6)}) > 1


def test_grid_has_every_power_of_two_and_whole_dimension() -> None:
    """Catches a grid that leaves out the whole dimension, where schedules are best, or repeats points."""
    where = _outside(12, 16, 5, sram=1 << 20)
    points = list(grid_points(where))
    assert len(points) == len(set(points))
    assert {point.mc for point in points} == {1, 2, 4, 8, 12}
    assert {point.kc for point in points} == {1, 2, 4, 8, 16}
    assert {point.nc for point in points} == {1, 2, 4, 5}
    tiles = {(where.kernels[p.kernel][0].name, where.kernels[p.kernel][1]) for p in points}
    assert ("q15-c", (4, 2, 2)) in tiles
    assert all(size & (size - 1) == 0 for _, tile in tiles for size in tile)


def test_neighbours_stay_in_range() -> None:
    """Catches a step to a block of 0 or beyond its dimension."""
    where = _outside(3, 1, 7, sram=1 << 16)
    evaluate, rng = Evaluator(where, 1), random.Random(1)
    genes = evaluate.anywhere(rng)
    for _ in range(2000):
        genes = evaluate.near(genes, rng)
        assert 0 <= genes.walk < len(evaluate.walks)
        assert 1 <= genes.mc <= 3
        assert genes.kc == 1
        assert 1 <= genes.nc <= 7
        assert 0 <= genes.kernel < len(where.kernels)
