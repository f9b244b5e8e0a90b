"""Fully connected layers on raw bytes of weights: exact on host and board, accesses and cycles as promised."""

from pathlib import Path

import layers_helpers as h
import layers_run_helpers as running
import numpy as np
import pytest
from board_helpers import compilers

from memaopt.kernels.registry import emit, plans
from memaopt.problems.layers import FullyConnected, Layer

RNG = np.random.default_rng(6)
FAMILY = "raw rows"


def _layers() -> dict[str, Layer]:
    rng = np.random.default_rng(0)
    return {
        "eight_rows": h.fully_connected(rng, 128, 24),
        "overlapping": h.fully_connected(rng, 64, 13, output_zero_point=5),
        "five_rows": h.fully_connected(rng, 32, 10, output_zero_point=-128),
        "two_rows": h.fully_connected(rng, 96, 2, output_zero_point=0),
        "clamped": h.fully_connected(rng, 37, 5, rows=3, zero_point=3, output_zero_point=3, clamp=(-40, 100)),
        "one": h.fully_connected(rng, 1, 1),
        "seven": h.fully_connected(rng, 7, 1, zero_point=127),
        "signed": h.fully_connected(rng, 24, 12, output_zero_point=3, in_double=False),
        "odd_batch": h.fully_connected(rng, 99, 9, rows=2, zero_point=-1),
    }


def test_on_the_host(tmp_path: Path) -> None:
    """Wrong pairs, order of weights, bias or tail in the plain C."""
    h.check_on_host(tmp_path, h.every_plan(_layers(), FAMILY), RNG)


@pytest.mark.parametrize("compiler", compilers())
def test_on_the_board(compiler: str, tmp_path: Path) -> None:
    """A wrong register, offset or loop in the assembly, or accesses that differ from the promise."""
    emitted = h.every_plan(_layers(), FAMILY)
    assert "sign" in emitted["signed_0"][1].plan.requantization
    h.check_on_board(tmp_path, emitted, RNG, compiler)


def test_cycles_of_layers_of_real_networks(tmp_path: Path) -> None:
    """A kernel that got slower, or a cost that an optimiser could not trust."""
    rng = np.random.default_rng(1)
    layers = {"encoder": h.fully_connected(rng, 640, 128), "hidden": h.fully_connected(rng, 128, 128)}
    h.check_on_board(
        tmp_path, h.every_plan(layers, FAMILY), RNG, running.COMPILER, cycles_within=0.02, kinds=["random"]
    )
    for layer, limit in zip(layers.values(), (1.27, 1.33), strict=True):
        assert all(plan.cycles / layer.macs < limit for plan in plans(layer) if plan.family == FAMILY)


def test_weights_that_do_not_fit_are_refused() -> None:
    """A fast kernel offered for a pair -128, -1, whose halfword would overflow."""
    layer = h.fully_connected(np.random.default_rng(3), 4, 2)
    bad = layer.weights.copy()
    bad[0, :2] = -1, -128
    refused = FullyConnected(1, bad, layer.bias, 0, layer.requantization)
    assert FAMILY not in {plan.family for plan in plans(refused)}
    with pytest.raises(ValueError, match="no kernel family"):
        emit(layer, plans(h.conv(np.random.default_rng(4), (4, 4, 4), 4))[1], "wrong")
