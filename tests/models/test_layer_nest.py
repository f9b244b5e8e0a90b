"""The nest of a layer: closed form = CP-SAT = every schedule looked at, and moved = walked."""

from __future__ import annotations

import itertools
import os

import numpy as np
import pytest

from memaopt.kernels.schedule import ORDERS
from memaopt.models import layer_closed_form, layer_cp_sat, layer_exhaustive
from memaopt.models.io_bound import Products, io_bytes
from memaopt.models.layer_nest import (
    CHANNELS_OUTSIDE,
    ROWS_OUTSIDE,
    LayerNest,
    LayerSpace,
    NestInput,
    NestSchedule,
    arrivals,
    external_bytes,
    footprint,
    why_not_in,
)
from memaopt.models.layer_replay import walk
from memaopt.models.walks import visits
from memaopt.models.walks import walk as gemm_walk
from memaopt.problems.bands import Reach
from memaopt.problems.gemm import INDEXED_BY, OPERANDS, gemm

#: Random layers against every schedule: more by MEMAOPT_EXAMPLES.
_LAYERS = int(os.environ.get("MEMAOPT_EXAMPLES", "300"))


def read_by(reach: Reach, height: int, outputs: int, row_bytes: int, *, by_unit: bool = False) -> NestInput:
    """An input of ``height`` rows under windows."""
    spans = [(max(reach.first(p), 0), min(reach.first(p) + reach.extent, height)) for p in range(outputs)]
    need = np.maximum.accumulate([0, *(max(end, 0) for _, end in spans)])
    low = [min([first for first, _ in spans[p:]] + [height]) for p in range(outputs + 1)]
    return NestInput(height, row_bytes, tuple(map(int, need)), tuple(low), by_unit)


def random_space(rng: np.random.Generator) -> LayerSpace:
    """A small layer of one or two inputs, each by unit or not, in or outside SRAM, with any capacity."""
    rows, units = int(rng.integers(1, 9)), int(rng.integers(1, 7))
    reads = []
    for _ in range(int(rng.integers(1, 3))):
        by_unit = bool(rng.random() < 0.5)
        reach = Reach(int(rng.integers(1, 6)), int(rng.integers(1, 4)), int(rng.integers(0, 3)))
        height = max(1, reach.rows_in(rows) - reach.above - int(rng.integers(0, 3)))
        width = int(rng.integers(1, 9))
        reads.append(read_by(reach, height, rows, width * (units if by_unit else 1), by_unit=by_unit))
    nest = LayerNest(rows, units, tuple(reads), int(rng.integers(1, 5)), int(rng.choice([0, 3, 8, 20])))
    outside = frozenset(i for i in range(len(reads)) if rng.random() < 0.8)
    whole = sum(read.rows * read.row_bytes for read in reads) + nest.output + nest.weights
    return LayerSpace(nest, outside, bool(rng.random() < 0.8), int(rng.integers(0, whole + 10)))


def test_no_schedule_is_better() -> None:
    """Catches a case that the closed form leaves out, and bytes or tiles that a walk does not find, on random layers
    whose every order, band, block, held constants and whole inputs are looked at."""
    rng = np.random.default_rng(12)
    for _ in range(_LAYERS):
        space = random_space(rng)
        found, best = layer_closed_form.solve(space), layer_exhaustive.solve(space)
        assert (found is None) == (best is None), space
        if found is None or best is None:
            continue
        assert why_not_in(space, found) is None
        assert external_bytes(space, found) == external_bytes(space, best), (space, found, best)
        walked = walk(space, found)
        assert walked.loaded + walked.stored == external_bytes(space, found) >= space.compulsory
        assert walked.peak <= footprint(space, found) <= space.capacity


@pytest.mark.parametrize("seed", range(4))
def test_every_schedule_moves_what_it_says(seed: int) -> None:
    """Catches a formula that is right only where schedules are good."""
    space = random_space(np.random.default_rng(seed))
    for schedule in layer_exhaustive.every_schedule(space):
        walked = walk(space, schedule)
        assert walked.loaded + walked.stored == external_bytes(space, schedule), schedule
        assert walked.peak <= footprint(space, schedule), schedule


@pytest.mark.parametrize("seed", range(100, 130))
def test_the_solver_finds_the_same(seed: int) -> None:
    """Catches a constraint that excludes a schedule or lets in one that is none, in a model of its own."""
    space = random_space(np.random.default_rng(seed))
    found, solved = layer_closed_form.solve(space), layer_cp_sat.solve(space)
    assert (found is None) == (solved is None)
    if found is not None and solved is not None:
        assert why_not_in(space, solved) is None
        assert external_bytes(space, solved) == external_bytes(space, found)


def test_arrivals_are_the_visits_of_a_product() -> None:
    """Catches a second rule of what is moved: for every order, level and number of trips it is that of GEMMs."""
    problem = gemm(8, 8, 8, placement=dict.fromkeys("abc", "qspi"))
    staged = frozenset(OPERANDS)
    for order, trips in itertools.product(ORDERS, itertools.product((1, 3), repeat=3)):
        of = dict(zip("mkn", trips, strict=True))
        for x, level in itertools.product(OPERANDS, range(4)):
            hold = tuple(level if y == x else 3 for y in OPERANDS)
            space = _Staged(staged)
            path = gemm_walk(space, order, hold)  # type: ignore[arg-type]
            assert arrivals([(d, of[d]) for d in order], INDEXED_BY[x], level) == visits(path, of, x), (order, x, level)
    assert problem.m == 8


class _Staged:
    def __init__(self, staged: frozenset[str]) -> None:
        self.staged = staged


def test_depthwise_layers_move_what_they_must() -> None:
    """Catches a depthwise layer or a pool above the compulsory traffic though the lines of one channel fit."""
    read = read_by(Reach(3, 1, 1), 24, 24, 24 * 16, by_unit=True)
    nest = LayerNest(24, 16, (read,), 24, 13)
    least = 3 * 24 + 24 + 13
    enough = LayerSpace(nest, frozenset({0}), True, least)
    found = layer_closed_form.solve(enough)
    assert found is not None
    assert external_bytes(enough, found) == enough.compulsory == 2 * 24 * 24 * 16 + 13 * 16
    assert layer_closed_form.solve(LayerSpace(nest, frozenset({0}), True, least - 1)) is None


def test_a_convolution_moves_no_less_than_its_products_need() -> None:
    """Catches a nest below the I/O bound, which then were none: 1x1 convolutions in little SRAM."""
    for height, channels, outputs, capacity in ((8, 16, 40, 200), (16, 32, 32, 700), (24, 8, 64, 300)):
        read = read_by(Reach(), height, height, height * channels)
        nest = LayerNest(height, outputs, (read,), height, channels)
        space = LayerSpace(nest, frozenset({0}), True, capacity)
        found = layer_closed_form.solve(space)
        assert found is not None
        products = Products(height * height * channels * outputs, height * height * outputs, 1)
        assert external_bytes(space, found) >= max(io_bytes(products, capacity, 4), space.compulsory)


def test_the_better_order_is_taken() -> None:
    """Catches one order for all: large constants want channels outside, large images rows outside."""
    image = LayerNest(40, 8, (read_by(Reach(3, 1, 1), 40, 40, 320),), 40, 300)
    constants = LayerNest(8, 24, (read_by(Reach(3, 1, 1), 8, 8, 64),), 4, 60)
    for nest, capacity, order in ((image, 3450, ROWS_OUTSIDE), (constants, 600, CHANNELS_OUTSIDE)):
        found = layer_closed_form.solve(LayerSpace(nest, frozenset({0}), True, capacity))
        assert isinstance(found, NestSchedule)
        assert found.order == order
