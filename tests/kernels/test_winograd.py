"""Winograd F(4x4,3x3) in integers: exact for every input, also where sums wrap on the way."""

import itertools
from pathlib import Path

import layers_helpers as h
import layers_run_helpers as running
import numpy as np
import pytest
from board_helpers import compilers

from memaopt.kernels.registry import Emitted, Format, emit, plans
from memaopt.problems.layers import Conv, Layer
from memaopt.problems.step_functions import Requantization

RNG = np.random.default_rng(8)
FAMILY = "winograd"


def _layers() -> dict[str, Layer]:
    rng = np.random.default_rng(0)
    return {
        "whole_tiles": h.conv(rng, (8, 8, 4), 8, (3, 3)),
        "ragged": h.conv(rng, (7, 11, 8), 4, (3, 3), zero_point=3, output_zero_point=-9),
        "smallest": h.conv(rng, (4, 8, 4), 4, (3, 3), zero_point=127, output_zero_point=-128),
        "valid": h.conv(rng, (9, 14, 4), 12, (3, 3), padding="valid", zero_point=-3, clamp=(-100, 90)),
        "several_turns": h.conv(rng, (5, 9, 12), 64, (3, 3), zero_point=0, output_zero_point=20),
    }


def _extreme() -> Conv:
    """Weights of one sign at their greatest: U and V reach their bounds and partial sums wrap."""
    layer = h.conv(np.random.default_rng(1), (8, 8, 8), 4, (3, 3), zero_point=-128)
    weights = np.where(np.arange(4)[:, None, None, None] % 2, -127, 127).astype(np.int8)
    weights = np.broadcast_to(weights, layer.weights.shape)
    q = Requantization(0, multipliers=np.full(4, 1 << 30), shifts=np.full(4, -12))
    return Conv(layer.shape, layer.output, weights, layer.bias, layer.window, -128, q)


def _emitted() -> dict[str, tuple[Layer, Emitted]]:
    """Every plan but that plain bytes go with words held in the FPU, others with words in memory."""
    made = h.every_plan(_layers() | {"extreme": _extreme()}, FAMILY)
    return {n: (x, e) for n, (x, e) in made.items() if e.plan.option("hold") == (e.plan.input_format is Format.S8)}


def test_every_plan_on_the_host(tmp_path: Path) -> None:
    """A wrong matrix, order of channels, correction or overlap in the plain C."""
    h.check_on_host(tmp_path, _emitted(), RNG)


@pytest.mark.parametrize("compiler", compilers()[:1])
def test_the_greatest_and_the_least_of_v(compiler: str, tmp_path: Path) -> None:
    """An offset that takes some halfword of V beyond 16 bits: inputs that take each place of V to its bounds."""
    layer = h.conv(np.random.default_rng(4), (6, 10, 4), 4, (3, 3), padding="valid", zero_point=0)
    emitted = list(h.every_plan({"bounds": layer}, FAMILY).values())
    board = running.OnBoard(tmp_path, [e for _, e in emitted], compiler)
    rows = np.array([[4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0], [0, -2, -1, 2, 1, 0]])
    for first, second in itertools.product(rows, repeat=2):
        for sign in (1, -1):
            image = np.zeros((6, 10, 4), np.int8)
            image[:, :6] = np.where(sign * np.outer(first, second) > 0, 127, -128)[..., None]
            for _, e in emitted:
                got, _ = board.run(e, h.stored_inputs(layer, e.plan, [image]), h.output_of(layer))
                np.testing.assert_array_equal(got, h.expected_in_format(layer, e.plan, [image]))


@pytest.mark.parametrize("compiler", compilers())
def test_every_plan_on_the_board(compiler: str, tmp_path: Path) -> None:
    """A wrong register, offset or loop in the assembly, or accesses that differ from the promise."""
    h.check_on_board(tmp_path, _emitted(), RNG, compiler)


def test_cycles_of_layers_of_real_networks(tmp_path: Path) -> None:
    """A kernel that got slower, or a cost that an optimiser could not trust."""
    rng = np.random.default_rng(1)
    for size, channels, limit in ((32, 16, 0.49), (16, 32, 0.37), (8, 64, 0.312)):
        layer = h.conv(rng, (size, size, channels), channels, (3, 3))
        plan = min(plans(layer), key=lambda p: p.cycles)
        assert plan.family == FAMILY
        layers = {"layer": (layer, emit(layer, plan, "layer"))}
        h.check_on_board(tmp_path, layers, RNG, running.COMPILER, cycles_within=0.02, kinds=["random"])
        assert plan.cycles / layer.macs <= limit


def test_preconditions_are_checked() -> None:
    """The kernel offered where 576 times an accumulator could leave 32 bits, or for windows that it does not do."""
    rng = np.random.default_rng(2)
    large = h.conv(rng, (8, 8, 128), 4, (3, 3))
    heaviest = np.full_like(large.weights, 127)
    full = Conv(large.shape, large.output, heaviest, large.bias, large.window, -128, large.requantization)
    others = [
        h.conv(rng, (8, 8, 4), 4, (3, 3), stride=(2, 2)),
        h.conv(rng, (8, 8, 4), 4, (3, 3), dilation=(2, 2)),
        h.conv(rng, (3, 8, 4), 4, (3, 3)),
        h.conv(rng, (8, 7, 4), 4, (3, 3)),
        h.conv(rng, (8, 8, 6), 4, (3, 3)),
        h.conv(rng, (8, 8, 4), 6, (3, 3)),
        h.conv(rng, (8, 8, 4), 4, (3, 3), groups=1, padding="same", dilation=(1, 2)),
    ]
    for layer in (full, *others):
        assert FAMILY not in {plan.family for plan in plans(layer)}
