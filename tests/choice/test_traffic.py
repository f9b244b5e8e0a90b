"""What a plan moves by memory, and the least that there is."""

from __future__ import annotations

import pytest
from network_helpers import MCU

from memaopt.choice.compile import compile_network
from memaopt.choice.traffic import compulsory_bytes, layer_traffic, network_traffic
from memaopt.machines.mcu import mcu
from memaopt.networks import operators as ops
from memaopt.networks.operators import Activation, Size2D
from memaopt.networks.zoo.builder import Builder
from memaopt.networks.zoo.zoo import build


def test_of_a_chain_the_ends_and_weights_remain() -> None:
    """Catches tensors between layers counted as compulsory, and weights or ends left out."""
    b = Builder("two", (1, 6, 6, 3), 4)
    x = b.conv_2d(0, 8, Size2D(3, 3), Activation.RELU)
    plan = compile_network(b.finish(b.conv_2d(x, 4, ops.ONE, Activation.NONE)), MCU)
    weights = 8 * 27 + 4 * 8
    assert compulsory_bytes(plan) == 6 * 6 * 3 + weights + 6 * 6 * 4
    found = network_traffic(plan)
    assert found.least == weights + 6 * 6 * (3 + 8 + 8 + 4)
    assert found.memories["flash"].least == weights
    assert found.bytes == sum(layer.traffic.bytes for layer in plan.layers)
    assert found.gap == pytest.approx(found.bytes / found.least - 1)


@pytest.mark.slow
def test_constants_that_are_copied_are_read_in_ram() -> None:
    """Catches flash that nobody reads, where start-up code has copied the constants."""
    plan = compile_network(build("ds_cnn"), mcu("stm32l4r5", "ram"))
    assert any(layer.where.data for layer in plan.layers)
    for layer in plan.layers:
        found = layer_traffic(plan, layer).memories
        assert (found["flash"].bytes == 0) == (layer.where.data or not layer.plan.data_bytes), layer.name
        assert all(each.bytes >= each.least for each in found.values()), layer.name
