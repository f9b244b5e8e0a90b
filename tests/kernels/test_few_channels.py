"""Convolutions and fully connected layers of up to three outputs: exact on host and board, and worth it."""

import dataclasses
from pathlib import Path

import layers_helpers as h
import numpy as np
import pytest
from board_helpers import compilers

from memaopt.kernels.registry import Emitted, plans
from memaopt.problems.layers import Conv, Layer

RNG = np.random.default_rng(5)
FAMILY = "few channels"


def _layers() -> dict[str, Layer]:
    rng = np.random.default_rng(0)
    lowest = h.conv(rng, (4, 5, 8), 3, (3, 3), zero_point=5)
    lowest.weights[:, 1] = -128
    made: dict[str, Layer] = {"lowest": lowest}
    for m in (1, 2, 3):
        made |= {
            f"pointwise_{m}": h.conv(rng, (3, 5, 37), m, zero_point=3, output_zero_point=9),
            f"deep_{m}": h.conv(rng, (4, 4, 88), m, (3, 2), zero_point=-1, clamp=(-128, 60)),
            f"one_position_{m}": h.conv(rng, (1, 1, 71), m, output_zero_point=-5, clamp=(-40, 127)),
            f"dilated_{m}": h.conv(rng, (9, 9, 6), m, (3, 2), dilation=(2, 2), stride=(1, 2)),
            f"valid_{m}": h.conv(rng, (7, 11, 4), m, (3, 3), padding="valid", stride=(2, 1), zero_point=127),
            f"one_input_{m}": h.conv(rng, (9, 8, 1), m, (5, 5), zero_point=-1, output_zero_point=3),
            f"groups_{m}": h.conv(rng, (5, 6, 10), 5 * m, (3, 3), groups=5, zero_point=4),
            f"connected_{m}": h.fully_connected(rng, 79, m, zero_point=-7, output_zero_point=3),
            f"rows_{m}": h.fully_connected(rng, 64, m, rows=5),
        }
    made["far"] = h.conv(rng, (3, 1500, 3), 2, (3, 3), stride=(1, 100), zero_point=3)
    made["many_groups"] = _repeated(h.conv(rng, (1, 4, 4), 1), 2100)
    return made


def _repeated(layer: Conv, times: int) -> Conv:
    """So many groups that are all alike: outputs of a tile's positions are farther apart than an offset reaches."""
    q = layer.requantization
    assert q.multipliers is not None
    assert q.shifts is not None
    return dataclasses.replace(
        layer,
        shape=layer.shape._replace(channels=4 * times),
        output=layer.output._replace(channels=times),
        weights=np.tile(layer.weights, (times, 1, 1, 1)),
        bias=np.tile(layer.bias, times),
        requantization=dataclasses.replace(
            q, multipliers=np.tile(q.multipliers, times), shifts=np.tile(q.shifts, times)
        ),
        groups=times,
    )


def _emitted() -> dict[str, tuple[Layer, Emitted]]:
    return h.every_plan(_layers(), FAMILY)


@pytest.mark.slow
def test_every_plan_on_the_host(tmp_path: Path) -> None:
    """Wrong layout of weights, folding of offsets, order of a patch or padding, in the plain C."""
    h.check_on_host(tmp_path, _emitted(), RNG)


@pytest.mark.slow
@pytest.mark.parametrize("compiler", compilers())
def test_every_plan_on_the_board(compiler: str, tmp_path: Path) -> None:
    """A wrong register, offset or loop in the assembly, or accesses that differ from the promise."""
    h.check_on_board(tmp_path, _emitted(), RNG, compiler)


@pytest.mark.slow
def test_cycles(tmp_path: Path) -> None:
    """A kernel that got slower, or a cost that an optimiser could not trust."""
    rng = np.random.default_rng(1)
    layers: dict[str, tuple[Layer, float]] = {
        "head_1": (h.conv(rng, (16, 16, 64), 1, output_zero_point=18), 1.65),
        "head_2": (h.conv(rng, (16, 16, 64), 2), 1.45),
        "head_3": (h.conv(rng, (16, 16, 64), 3), 1.4),
        "image_1": (h.conv(rng, (16, 16, 6), 1, (3, 3)), 2.6),
        "image_3": (h.conv(rng, (16, 16, 18), 3, (3, 3)), 1.5),
        "groups": (h.conv(rng, (16, 16, 28), 4, (3, 3), groups=4), 2.7),
        "behind_padding": (h.conv(rng, (17, 13, 3), 2, (3, 3), stride=(2, 2)), 3.3),
        "short_rows": (h.conv(rng, (13, 7, 5), 1, (3, 3), stride=(2, 2)), 4.9),
        "unaligned": (h.conv(rng, (12, 12, 21), 3, (3, 3)), 1.7),
        "connected_1": (h.fully_connected(rng, 640, 1), 2.15),
        "connected_3": (h.fully_connected(rng, 640, 3), 1.5),
    }
    for name, (layer, limit) in layers.items():
        # Windows of two taps or more are faster over rows of halfwords, in more memory.
        plan = min((p for p in plans(layer) if p.family == FAMILY), key=lambda p: p.cycles)
        h.check_plan(tmp_path, name, layer, plan, RNG, 0.03)
        assert plan.cycles / layer.macs <= limit, name


def test_four_channels_are_others() -> None:
    """A kernel offered for more channels than it has registers for."""
    layer = h.conv(np.random.default_rng(3), (4, 4, 16), 4)
    assert not [plan for plan in plans(layer) if plan.family == FAMILY]
