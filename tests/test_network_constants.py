"""Constants that layers read as they read activations."""

from __future__ import annotations

import numpy as np
from network_helpers import MCU
from networks_helpers import activation, constant

from memaopt import network_trial
from memaopt.emit import network as emit
from memaopt.networks import operators as ops
from memaopt.networks.compile import compile_network
from memaopt.networks.graph import Graph


def test_equal_constants_are_one() -> None:
    """Catches constants that a compiler merges, so that the board counts the accesses to one under another's name."""
    values = [np.array([[7, 1]], np.int8), np.array([[7, 1]], np.int8), np.array([[9, 1]], np.int8)]
    constants = [constant(f"c{i}", v, np.array([0.1])) for i, v in enumerate(values)]
    tensors = (activation("x", (1, 2), 0.1, 0), *constants, activation("y", (4, 2), 0.1, 0))
    op = ops.Concatenation(inputs=(1, 0, 2, 3), outputs=(4,), axis=0)
    plan = compile_network(Graph("constants", tensors, (op,), (0,), (4,)), MCU)
    assert len(set(emit.constant_operands(plan).values())) == 2
    assert network_trial.run(plan, 2).passed
