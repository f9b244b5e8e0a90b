"""Random networks of convolutions, depthwise layers and residuals, in arenas that get tighter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from network_helpers import MCU, Library

from memaopt import network_trial
from memaopt.emit import network as emit
from memaopt.errors import InfeasibleError
from memaopt.networks import operators as ops
from memaopt.networks.compile import compile_network
from memaopt.networks.graph import Graph
from memaopt.networks.operators import Activation, Size2D
from memaopt.networks.zoo_builder import Builder


def _network(seed: int) -> Graph:
    rng = np.random.default_rng(seed)
    height, width, channels = (int(n) for n in rng.integers((3, 3, 1), (22, 22, 14)))
    b, x = Builder(f"random{seed}", (1, height, width, channels), seed), 0
    for _ in range(rng.integers(2, 7)):
        rows, columns = b.tensors[x].shape[1:3]
        stride = Size2D(*map(int, rng.integers(1, 3, 2))) if min(rows, columns) > 4 and rng.random() < 0.4 else ops.ONE
        kernel = ops.ONE if rng.random() < 0.6 else Size2D(*map(int, rng.integers(1, 4, 2)))
        match rng.integers(4):
            case 0:
                x = b.conv_2d(x, int(rng.integers(1, 26)), kernel, Activation.RELU6, stride=stride)
            case 1:
                x = b.depthwise_conv_2d(x, Activation.NONE, stride=stride)
            case 2:
                x = b.conv_2d(x, int(rng.integers(2, 30)), kernel, Activation.RELU)
                x = b.depthwise_conv_2d(x, Activation.RELU, stride=stride)
            case _:
                y = b.conv_2d(x, b.channels(x), Size2D(3, 3))
                x = b.add(x, y, Activation.RELU)
    return b.finish(x)


@pytest.mark.parametrize("seed", [3, 5, 7, 9, 12, 16])
def test_tighter_arenas_give_the_same_bytes(seed: int, tmp_path: Path) -> None:
    """Catches an output that overtakes its input, planes or strips beyond their scratch, or a choice that does not
    agree with its memory plan: other kernels, formats and overlaps for each arena, on the host and once on the board.
    """
    graph, arena = _network(seed), None
    for share in (0.9, 0.8, 0.7):
        try:
            plan = compile_network(graph, MCU, arena=arena)
        except InfeasibleError:
            break
        assert arena is None or plan.arena_bytes <= arena
        Library(plan, tmp_path / str(share)).check(emit.random_inputs(plan, seed))
        arena = int(plan.arena_bytes * share)
    assert network_trial.run(plan, 1).passed
