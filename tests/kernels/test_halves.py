"""BATCH_MATMUL by halfwords: every way to pack an operand, odd sizes, extreme zero points."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import layers_helpers as h
import layers_run_helpers as running
import numpy as np
import pytest

from memaopt.kernels.matmul.halves import HalvesMatMul
from memaopt.kernels.matmul.tiles import TiledMatMul
from memaopt.kernels.registry import Emitted, plans
from memaopt.problems.layers import MatMul
from memaopt.problems.step_functions import Rescale

_HALVES, _TILES = HalvesMatMul(), TiledMatMul()
#: Of sizes whose cycles are predicted well, and of others.
_EVEN, _ODD = ((16, 16, 16), (8, 32, 12), (8, 16, 1), (33, 32, 2)), ((7, 12, 5), (3, 5, 8), (1, 9, 1), (9, 49, 2))


def _layers(sizes: tuple[tuple[int, int, int], ...]) -> Iterator[tuple[str, tuple[MatMul, Emitted]]]:
    rng = np.random.default_rng(8)
    for turned, (m, k, n) in itertools.product(itertools.product((False, True), repeat=2), sizes):
        first, second = (k, m) if turned[0] else (m, k), (n, k) if turned[1] else (k, n)
        zeros = (int(rng.choice([-128, 127, 3])) for _ in range(2))
        rescale = Rescale(int(rng.integers(1 << 30, (1 << 31) - 1)), -int(rng.integers(5, 9)))
        layer = MatMul((2, *first), (1, *second), turned, *zeros, int(rng.integers(-20, 20)), rescale)
        tiles = _TILES.plans(layer)
        halves = _HALVES.plans(layer) if m == 16 or not tiles else ()
        # Of tiles the longest turns and the shortest.
        for plan in dict.fromkeys((*halves, *tiles[:1], *tiles[-1:])):
            family = _HALVES if plan.family == _HALVES.name else _TILES
            name = f"m{m}_{k}_{n}_{turned[0]:d}{turned[1]:d}_{plan.tile.replace(' ', '_')}_{family.name[0]}"
            yield name, (layer, family.emit(layer, plan, name))


@pytest.mark.slow
def test_on_host(tmp_path: Path) -> None:
    """Catches halfwords that are packed in another order by one operand, and a sum that leaves its range."""
    h.check_on_host(tmp_path, dict(_layers((*_EVEN, *_ODD))), np.random.default_rng(1))


@pytest.mark.slow
@pytest.mark.board
def test_on_board(tmp_path: Path) -> None:
    """Catches an access that is not promised, and cycles that would make a network choose another kernel."""
    h.check_on_board(tmp_path, dict(_layers(_EVEN)), np.random.default_rng(2), running.COMPILER, cycles_within=0.12)
    h.check_on_board(tmp_path, dict(_layers(_ODD)), np.random.default_rng(3), running.COMPILER, cycles_within=0.3)


def test_it_is_the_faster_one() -> None:
    """Catches a product of a transformer that is computed element by element."""
    layer = MatMul((2, 16, 16), (2, 16, 16), (False, True), 3, -4, 5, Rescale(1518500250, -7))
    generic, halves, *tiles = plans(layer)
    assert (generic.family, halves.family, tiles[0].family) == ("generic", "halves", "tiles of halves")
    assert 3 * halves.cycles < generic.cycles
    assert 1.4 * min(plan.cycles for plan in tiles) < halves.cycles


def test_sums_that_do_not_fit() -> None:
    """Catches a row that is so long that a sum times its factor leaves 32 bits, or has no proven rounding."""
    long = MatMul((1, 2, 40000), (1, 40000, 2), (False, False), -128, -128, 0, Rescale(1 << 30, -20))
    assert [plan.family for plan in plans(long)] == ["generic"]
