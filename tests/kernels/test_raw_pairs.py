"""Raw-pair convolutions: exact on host and board for any window, size, zero point, clamp and format."""

from collections.abc import Iterator
from itertools import product
from pathlib import Path

import layers_helpers as h
import layers_reference_helpers as oracle
import layers_run_helpers as running
import numpy as np
import pytest
from board_helpers import compilers

from memaopt.kernels.code import Call, Loop, Node, Small, Staged
from memaopt.kernels.executed import cycles_of
from memaopt.kernels.raw_pairs.kernel import RawPairsKernel
from memaopt.kernels.registry import Emitted, Format, emit, plans
from memaopt.kernels.rounding import cleared
from memaopt.problems.geometry import Image
from memaopt.problems.layers import Conv, Layer
from memaopt.problems.step_functions import Requantization

RNG = np.random.default_rng(5)
FAMILY = "raw pairs"


def _odd_layers() -> dict[str, Layer]:
    rng = np.random.default_rng(0)
    return h.patch_layers(rng) | {
        "three_channels": h.conv(rng, (1, 1, 10), 3, zero_point=-3),
        "two_positions": h.conv(rng, (1, 2, 10), 2, zero_point=-3, output_zero_point=0, clamp=(0, 127)),
        "deep": h.conv(rng, (5, 4, 128), 3, (3, 3)),
        "dilated_row": h.conv(rng, (8, 8, 12), 4, (1, 3), dilation=(1, 2)),
        "column": h.conv(rng, (5, 8, 4), 24, (2, 1)),
        "one_output": h.conv(rng, (5, 4, 12), 1, (3, 3), zero_point=1, output_zero_point=9),
        "two_groups": h.conv(rng, (5, 4, 12), 2, (3, 3), groups=2, zero_point=1),
        "three_groups": h.conv(rng, (3, 4, 9), 3, groups=3, output_zero_point=9),
        "depthwise_of_one_channel": h.depthwise(rng, (9, 11, 1), (5, 4), multiplier=6, stride=(2, 2), zero_point=7),
    }


def _emitted() -> dict[str, tuple[Layer, Emitted]]:
    """Every plan with the default formats, and every pair of formats of the plan that is fastest with them."""
    chosen: dict[str, tuple[Layer, Emitted]] = {}
    for name, layer in _odd_layers().items():
        seen = set()
        for number, plan in enumerate(p for p in plans(layer) if p.family == FAMILY):
            formats = (plan.input_format, plan.output_format)
            if formats == (Format.S8, Format.S8) or formats not in seen:
                chosen[f"{name}_{number}"] = (layer, emit(layer, plan, f"{name}_{number}"))
            seen.add(formats)
        assert (Format.S8, Format.S8) in seen
    return chosen


def test_every_plan_on_the_host(tmp_path: Path) -> None:
    """Wrong layout of weights, folding of offsets, gathering of patches or padding, in the plain C."""
    h.check_on_host(tmp_path, _emitted(), RNG)


@pytest.mark.parametrize("compiler", compilers())
def test_every_plan_on_the_board(compiler: str, tmp_path: Path) -> None:
    """A wrong register, offset or loop in the assembly, or accesses that differ from the promise."""
    h.check_on_board(tmp_path, _emitted(), RNG, compiler)


def test_cycles_of_layers_of_real_networks(tmp_path: Path) -> None:
    """A kernel that got slower, or a cost that an optimiser could not trust."""
    rng = np.random.default_rng(1)
    limits = {"pointwise_64": 1.08, "pointwise_128": 1.02, "strided_3x3": 1.06, "first_3x3": 1.40, "first_10x4": 1.20}
    layers = {
        "pointwise_64": h.conv(rng, (25, 5, 64), 64),
        "pointwise_128": h.conv(rng, (6, 6, 128), 128),
        "strided_3x3": h.conv(rng, (32, 32, 16), 32, (3, 3), stride=(2, 2)),
        "first_3x3": h.conv(rng, (32, 32, 3), 16, (3, 3)),
        "first_10x4": h.conv(rng, (49, 10, 1), 64, (10, 4), stride=(2, 2)),
    }
    for name, layer in layers.items():
        plan = min((p for p in plans(layer) if p.input_format == p.output_format == "s8"), key=lambda p: p.cycles)
        h.check_plan(tmp_path, name, layer, plan, RNG, 0.03)
        assert plan.cycles / layer.macs <= limits[name]


@pytest.mark.parametrize("clears", [True, False])
def test_a_tile_costs_what_its_text_takes(clears: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cost that differs from the kernel's own instructions, none of whose accesses is unaligned: copies of one run
    and of several, straight code and loops, all three output stages."""
    if not clears:
        monkeypatch.setattr(cleared, "_prove", lambda *_: None)
    rng = np.random.default_rng(4 + clears)
    convs = [((6, 6, 8), 12, (3, 3)), ((5, 5, 48), 6, (1, 1)), ((6, 9, 4), 8, (1, 5))]
    layers = [h.conv(rng, *sizes, output_zero_point=zero) for sizes in convs for zero in (-128, 7)]
    called = (kernel for layer in layers for plan in plans(layer) for kernel in _kernels(plan.code))
    kernels = {kernel for kernel in called if kernel.aligned}
    assert {(kernel.output.spare, kernel.unroll > 0) for kernel in kernels} == {*product((False, True), repeat=2)}
    assert {kernel.output.by_sign for kernel in kernels if kernel.output.spare} == {not clears}
    for kernel in kernels:
        one, two = (cycles_of((kernel.call(tiles),)) for tiles in (1, 2))
        assert two - one == kernel.tile_cycles


def _kernels(nodes: tuple[Node, ...]) -> Iterator[RawPairsKernel]:
    """The kernels of this family that are called."""
    for node in nodes:
        if isinstance(node, Call) and isinstance(node.routine, RawPairsKernel):
            yield node.routine
        elif isinstance(node, Call) and isinstance(node.routine, Small):
            yield from _kernels(node.routine.body)
        elif isinstance(node, (Loop, Staged)):
            yield from _kernels(node.body)


def test_in_place(tmp_path: Path) -> None:
    """An output that overtakes the input it shares memory with, where the plan says that this is allowed."""
    layer = h.conv(np.random.default_rng(2), (5, 3, 8), 6)
    plain = [p for p in plans(layer) if p.family == FAMILY and p.input_format == p.output_format == "s8"]
    plan = next(p for p in plain if p.lead is not None and p.lead <= 0)
    e = emit(layer, plan, "pointwise")
    board = running.OnBoard(tmp_path, [e]).board
    (image,) = h.inputs_of(RNG, layer)
    at = running.MCU.sram.base + 0x2000
    board.write(at, image.tobytes())
    board.call("pointwise", at, at, 0)
    got = np.frombuffer(board.read(at, layer.output.elements), np.int8)
    np.testing.assert_array_equal(got, oracle.expected(layer, image))


def test_preconditions_are_checked() -> None:
    """A fast kernel offered for weights for which it would be wrong."""
    rng = np.random.default_rng(3)
    layer = h.conv(rng, (4, 4, 4), 4)
    too_low = layer.weights.copy()
    too_low[0, 0, 0, :2] = -128, 1
    too_large = np.full((2, 1, 1, 40000), 127, np.int8)
    q = layer.requantization
    two = Requantization(q.zero_point, multipliers=q.multipliers[:2], shifts=q.shifts[:2] - 8)
    for bad in (
        Conv(layer.shape, layer.output, too_low, layer.bias, layer.window, 0, q),
        Conv(Image(4, 4, 40000), Image(4, 4, 2), too_large, layer.bias[:2], layer.window, 0, two),
    ):
        assert FAMILY not in {plan.family for plan in plans(bad)}
