"""Convolutions in tiles of 32 sums: exact on host and board, every access as promised, and fewer bytes."""

from pathlib import Path

import layers_helpers as h
import numpy as np
import pytest
from board_helpers import compilers

from memaopt.kernels.registry import Emitted, plans
from memaopt.problems.layers import Layer

RNG = np.random.default_rng(5)
FAMILY = "wide tiles"


def _layers() -> dict[str, Layer]:
    rng = np.random.default_rng(0)
    lowest = h.conv(rng, (3, 5, 9), 6, zero_point=127)
    lowest.weights[:2] = -128
    return {
        "plain": h.conv(rng, (5, 7, 8), 12, zero_point=3),
        "left_over": h.conv(rng, (3, 9, 7), 5, zero_point=-1, output_zero_point=9),
        "clamped": h.conv(rng, (4, 7, 14), 9, output_zero_point=-40, clamp=(-40, 60)),
        "clamped_above": h.conv(rng, (3, 3, 4), 4, zero_point=5, clamp=(-128, -31)),
        "one": h.conv(rng, (1, 1, 6), 7),
        "few": h.conv(rng, (1, 3, 33), 31, zero_point=5),
        "lowest": lowest,
        "window": h.conv(rng, (7, 9, 5), 8, (3, 3), zero_point=3),
        "valid": h.conv(rng, (6, 9, 3), 5, (2, 3), padding="valid"),
        "apart": h.conv(rng, (9, 11, 4), 6, (3, 2), stride=(2, 3), zero_point=-5, output_zero_point=9),
        "tall": h.conv(rng, (13, 6, 1), 9, (10, 4), stride=(2, 1)),
        "below": h.conv(rng, (9, 5, 8), 7, (3, 1), dilation=(2, 1)),
        "strided": h.conv(rng, (7, 9, 8), 6, stride=(2, 2)),
        "large": h.conv(rng, (12, 12, 32), 64),
        "large_window": h.conv(rng, (12, 12, 16), 32, (3, 3)),
    }


def _emitted() -> dict[str, tuple[Layer, Emitted]]:
    return h.every_plan(_layers(), FAMILY)


def test_every_plan_on_the_host(tmp_path: Path) -> None:
    """A wrong order of weights, or a channel computed twice that lands elsewhere, in the plain C."""
    h.check_on_host(tmp_path, _emitted(), RNG)


@pytest.mark.slow
@pytest.mark.parametrize("compiler", compilers())
def test_every_plan_on_the_board(compiler: str, tmp_path: Path) -> None:
    """A wrong register, offset or loop in the assembly, a byte read behind the input, a register of the FPU that is not
    restored, accesses that differ from the promise, or cycles from the prediction."""
    emitted = _emitted()
    assert {plan.plan.option("strip") > 0 for _, plan in emitted.values()} == {False, True}
    h.check_on_board_and_large(tmp_path, emitted, RNG, compiler)


def test_no_other_kernel_moves_fewer_bytes() -> None:
    """A tile that no longer is what it is for: 12 bytes for each four steps of 32 sums."""
    layer = _layers()["large"]
    moved = {plan.family: plan.promise.total.bytes for plan in plans(layer)}
    assert moved[FAMILY] < 0.6 * min(size for family, size in moved.items() if family != FAMILY)


def test_others_are_none() -> None:
    """Kernels for dilated rows, groups, or rows without a word."""
    rng = np.random.default_rng(1)
    others = [
        h.conv(rng, (5, 4, 3), 8),
        h.conv(rng, (5, 4, 8), 3),
        h.conv(rng, (5, 4, 8), 8, groups=2),
        h.conv(rng, (6, 4, 4), 8, (1, 2), dilation=(1, 2)),
    ]
    for layer in others:
        assert FAMILY not in {plan.family for plan in plans(layer)}
