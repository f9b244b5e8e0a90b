"""A 1x1 convolution in a network and the same product alone are computed by the same kernel, at the same price."""

from __future__ import annotations

import numpy as np
import pytest
from network_helpers import MCU

from memaopt.certificates.gemm import certify
from memaopt.choice.compile import compile_network
from memaopt.choice.network_plan import LayerPlan
from memaopt.kernels.schedule import LayerSchedule
from memaopt.machines.mcu import Mcu
from memaopt.networks.operators import Activation, Size2D
from memaopt.networks.zoo.builder import Builder
from memaopt.problems.gemm import Gemm
from memaopt.problems.layers import Conv
from memaopt.problems.weights import Weights

#: M x K x N.
_SIZES = ((64, 64, 125), (12, 100, 6))


def _layer(sizes: tuple[int, int, int], machine: Mcu) -> tuple[Conv, LayerPlan]:
    m, k, n = sizes
    b = Builder("one", (1, 1, n, k), 3)
    graph = b.finish(b.conv_2d(b.input, m, Size2D(1, 1), Activation.NONE))
    plan = compile_network(graph, machine, within=0)
    (made,) = plan.layers
    lowered = plan.graph.operators[0].lower(plan.graph)
    assert lowered is not None
    assert isinstance(lowered.layer, Conv)
    return lowered.layer, made


def _product(layer: Conv) -> Gemm:
    a, q = layer.weights.reshape(layer.output.channels, -1), layer.requantization
    weights = Weights.of(
        a, layer.bias - layer.input_zero_point * a.sum(axis=1, dtype=np.int64), q.multipliers, q.shifts
    )
    m, k = a.shape
    zero_points = {"input_zero_point": layer.input_zero_point, "output_zero_point": q.zero_point}
    clamp = q.minimum, q.maximum
    return Gemm(m=m, k=k, n=layer.output.positions, dtype="s8", weights=weights, clamp=clamp, **zero_points)


@pytest.mark.parametrize("sizes", _SIZES)
@pytest.mark.parametrize("waits", [None, 0])
def test_a_convolution_is_planned_as_its_product_is_certified(sizes: tuple[int, int, int], waits: int | None) -> None:
    """Catches a kernel or a price that only one of both knows; a network's layer waits for its call besides."""
    machine = MCU if waits is None else MCU.with_wait_states(waits)
    layer, planned = _layer(sizes, machine)
    certificate = certify(_product(layer), machine, "cycles", proof="closed form")
    found = certificate.schedule
    assert isinstance(found, LayerSchedule)
    plan = planned.plan
    assert (found.family, found.tile, found.options) == (plan.family, plan.tile, plan.options)
    assert certificate.traffic.cycles == pytest.approx(planned.machine_cycles, rel=0 if waits == 0 else 0.003)
