"""Rounding as ONNX has it, a float32 product with ties to even: exact in every kernel, and where nothing is proven."""

import dataclasses
from pathlib import Path

import layers_helpers as h
import numpy as np
import pytest
from board_helpers import compilers

from memaopt import fixedpoint
from memaopt.kernels.registry import Emitted, emit, plans
from memaopt.problems.layers import Conv, Depthwise, FullyConnected, Layer, Mean, Quantize
from memaopt.problems.step_functions import Requantization


def _even(layer: Layer, *, power_of_two: bool = False) -> Layer:
    """The layer with its scales as floats, or as the nearest powers of two, which put many accumulators on ties."""
    assert isinstance(layer, Conv | Depthwise | FullyConnected)
    scales = layer.requantization.real_scales
    scales = 2.0 ** np.rint(np.log2(scales)) if power_of_two else scales.astype(np.float32).astype(np.float64)
    q = layer.requantization
    return dataclasses.replace(
        layer, requantization=Requantization(q.zero_point, q.minimum, q.maximum, scales=scales, even=True)
    )


def _layers(seed: int) -> dict[str, Layer]:
    rng = np.random.default_rng(seed)
    mean = Requantization(3, scales=np.array([np.float32(1.1 / 16)], np.float64), even=True)
    ties = Requantization(3, scales=np.array([0.125]), even=True)
    return {
        "conv": _even(h.conv(rng, (6, 7, 8), 4, (3, 3), zero_point=3, output_zero_point=-9)),
        "conv_ties": _even(h.conv(rng, (5, 6, 3), 4, (3, 3)), power_of_two=True),
        "depthwise": _even(h.depthwise(rng, (7, 6, 4))),
        "depthwise_ties": _even(h.depthwise(rng, (7, 6, 3), (5, 3), zero_point=4), power_of_two=True),
        "fully_connected": _even(h.fully_connected(rng, 37, 9)),
        "fully_connected_ties": _even(h.fully_connected(rng, 20, 4, rows=2), power_of_two=True),
        "mean": Mean((4, 4, 8), (0, 1), 5, mean),
        "mean_ties": Mean((4, 3, 2), (0,), -128, ties),
        "quantize": Quantize(60, 0.5, -5, even=True),
    }


def _emitted() -> dict[str, tuple[Layer, Emitted]]:
    """A plan of each family, of a layer of its own: compilers share constants that are equal."""
    made = {}
    for name, first in _layers(0).items():
        families = sorted({plan.family for plan in plans(first)})
        assert families, name
        for number, family in enumerate(families):
            layer = _layers(number)[name]
            plan = next((plan for plan in plans(layer) if plan.family == family), None)
            if plan is not None:
                made[f"{name}_{number}"] = (layer, emit(layer, plan, f"{name}_{number}"))
    assert {"generic", "raw pairs", "chained sums"} <= {e.plan.family for _, e in made.values()}
    return made


def test_ties_go_to_even() -> None:
    """Catches ties away from zero, and a product of doubles: 16777217 is no float."""
    assert fixedpoint.requantize_to_even([1, 3, 5, -1, -3], 0.5).tolist() == [0, 2, 2, 0, -2]
    assert int(fixedpoint.requantize_to_even((1 << 24) + 1, 0.5)) == 1 << 23
    with pytest.raises(ValueError, match="float32"):
        Requantization(0, scales=np.array([0.1]), even=True)


@pytest.mark.slow
def test_on_the_host(tmp_path: Path) -> None:
    """Catches C that rounds ties otherwise: scales that are powers of two put every other output on one."""
    h.check_on_host(tmp_path, _emitted(), np.random.default_rng(1))


@pytest.mark.slow
@pytest.mark.board
@pytest.mark.parametrize("compiler", compilers())
def test_on_the_board(compiler: str, tmp_path: Path) -> None:
    """Catches a promise of accesses that the plain C of such layers does not keep."""
    h.check_on_board(tmp_path, _emitted(), np.random.default_rng(2), compiler, kinds=("random",))
