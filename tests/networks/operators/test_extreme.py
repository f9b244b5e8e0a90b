"""MINIMUM and MAXIMUM beside what stands around them: a clamp after them, a view of one tensor."""

import numpy as np
import pytest

from memaopt import certify, mcu, verify
from memaopt.networks import operators as ops
from memaopt.networks import reference
from memaopt.networks.graph import Graph, int8_tensor
from memaopt.networks.operators.registry import OPERATORS
from memaopt.networks.simplify import simplify


@pytest.mark.parametrize("kind", ["MINIMUM", "MAXIMUM"])
def test_a_clamp_after_it_is_folded(kind: str) -> None:
    """Catches a simplified network that its own checks refuse, since the clamp's output means something else."""
    tensors = [
        int8_tensor("a", (1, 6), 0.5, 3),
        int8_tensor("b", (1, 6), 0.5, 3),
        int8_tensor("chosen", (1, 6), 0.5, 3),
        int8_tensor("relu", (1, 6), 0.5, 3),
    ]
    first = OPERATORS[kind](inputs=(0, 1), outputs=(2,))
    graph = Graph("clamped", tuple(tensors), (first, ops.Relu(inputs=(2,), outputs=(3,), location=1)), (0, 1), (3,))
    simple = simplify.simplify(graph).graph
    assert [op.kind for op in simple.operators] == [kind]
    rng = np.random.default_rng(0)
    inputs = [rng.integers(-128, 128, (1, 6)).astype(np.int8) for _ in range(2)]
    np.testing.assert_array_equal(reference.run(simple, inputs)[0], reference.run(graph, inputs)[0])


def test_of_a_tensor_and_its_view() -> None:
    """Catches a plan that overwrites an input in place, and a replay that takes its view for another tensor."""
    tensors = [
        int8_tensor("x", (3, 4), 0.5, 0),
        int8_tensor("y", (3, 4), 0.5, 0),
        int8_tensor("view", (1, 3, 4), 0.5, 0),
        int8_tensor("out", (1, 3, 4), 0.5, 0),
    ]
    operators = (
        ops.Relu(inputs=(0,), outputs=(1,)),
        ops.ExpandDims(inputs=(1,), outputs=(2,), location=1),
        OPERATORS["MAXIMUM"](inputs=(2, 1), outputs=(3,), location=2),
    )
    certificate = certify(Graph("view", tuple(tensors), operators, (0,), (3,)), mcu("stm32l4r5"))
    assert verify(certificate).premises
