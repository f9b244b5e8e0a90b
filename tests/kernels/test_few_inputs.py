"""1x1 convolutions of two to four inputs, and of eight: exact on host and board, and worth it."""

from pathlib import Path

import layers_helpers as h
import numpy as np
import pytest
from board_helpers import compilers

from memaopt.kernels.registry import Emitted, plans
from memaopt.problems.layers import Layer

RNG = np.random.default_rng(5)
FAMILY = "few inputs"
_MOST = {2: 2.45, 3: 2.45, 4: 1.82, 8: 1.49}


def _layers() -> dict[str, Layer]:
    rng = np.random.default_rng(0)
    made: dict[str, Layer] = {}
    for k in (2, 3, 4):
        lowest = h.conv(rng, (3, 5, k), 6, zero_point=127)
        lowest.weights[:2] = -128
        made |= {
            f"plain_{k}": h.conv(rng, (5, 7, k), 5, zero_point=3),
            f"by_sign_{k}": h.conv(rng, (3, 7, k), 9, zero_point=-1, output_zero_point=9),
            f"clamped_{k}": h.conv(rng, (4, 7, k), 7, output_zero_point=-40, clamp=(-40, 60)),
            f"clamped_above_{k}": h.conv(rng, (4, 7, k), 3, zero_point=5, clamp=(-128, -31)),
            f"many_{k}": h.conv(rng, (1, 13, k), 40, zero_point=5),
            f"prime_{k}": h.conv(rng, (1, 9, k), 37, output_zero_point=1),
            f"lowest_{k}": lowest,
            f"large_{k}": h.conv(rng, (24, 24, k), 16),
        }
    lowest = h.conv(rng, (3, 5, 8), 6, zero_point=127)
    lowest.weights[:2] = -128
    many = {f"of_{m}_8": h.conv(rng, (1, 13, 8), m, zero_point=5) for m in (1, 17, 32)}
    return made | many | {"lowest_8": lowest, "large_8": h.conv(rng, (24, 24, 8), 16)}


def _emitted() -> dict[str, tuple[Layer, Emitted]]:
    return h.every_plan(_layers(), FAMILY)


def test_every_plan_on_the_host(tmp_path: Path) -> None:
    """A wrong order of weights, or an output's distance to a bound, in the plain C."""
    h.check_on_host(tmp_path, _emitted(), RNG)


@pytest.mark.slow
@pytest.mark.parametrize("compiler", compilers())
def test_every_plan_on_the_board(compiler: str, tmp_path: Path) -> None:
    """A wrong register, offset or loop in the assembly, a byte read behind the input, accesses that differ from the
    promise, or cycles from the prediction."""
    emitted = _emitted()
    assert any("loop" in e.plan.tile for _, e in emitted.values())
    large = h.check_on_board_and_large(tmp_path, emitted, RNG, compiler)
    for name, (layer, e) in large.items():
        assert e.plan.cycles < (_MOST[int(name.split("_")[1])] + 0.5 * e.plan.option("looped")) * layer.macs


def test_others_are_none() -> None:
    """Kernels for positions left out, other windows, groups, or more inputs, addends or channels than registers."""
    rng = np.random.default_rng(1)
    others = [
        h.conv(rng, (5, 4, 5), 8),
        h.conv(rng, (5, 4, 8), 8, output_zero_point=9),
        h.conv(rng, (5, 4, 8), 33),
        h.conv(rng, (5, 4, 4), 8, groups=2),
        h.conv(rng, (6, 4, 4), 8, stride=(2, 1)),
        h.conv(rng, (6, 4, 2), 8, (1, 2)),
    ]
    for layer in others:
        assert FAMILY not in {plan.family for plan in plans(layer)}
