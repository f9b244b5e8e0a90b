"""DIV beyond the cases of constants: any divisor but 0, and what TFLite Micro leaves undefined."""

from __future__ import annotations

import numpy as np
import pytest
from tensors_helpers import activation, single
from tflite_helpers import Micro

from memaopt.networks import reference
from memaopt.networks.formats.tflite import writer
from memaopt.networks.operators.registry import OPERATORS
from memaopt.problems.binary import quotient
from memaopt.problems.step_functions import Rescale

EVERY = np.arange(-128, 128).astype(np.int8)


@pytest.mark.parametrize("factor", [70.0, 300.0, 5000.0])
def test_pairs_equal_tflite_micro(factor: float) -> None:
    """Catches a sign, a shift or a reciprocal that only some pairs of bytes show."""
    pytest.importorskip("tflite_micro")
    rng, shape = np.random.default_rng(3), (1, 900)
    tensors = [activation("a", shape, 0.1, -3), activation("b", shape, 0.02, 7), activation("y", shape, 5 / factor, 4)]
    graph = single(OPERATORS["DIV"], tensors, 2)
    micro = Micro(writer.write(graph), 1)
    for _ in range(20):
        values = [rng.choice(EVERY, shape), rng.choice(EVERY[EVERY != 7], shape)]
        np.testing.assert_array_equal(reference.run(graph, values)[0], micro.run(values)[0])


def test_what_is_undefined_is_0() -> None:
    """Catches a shift by 32 bits or more, and one by the zeros of a divisor that is 0."""
    assert quotient(np.array([5, 1, -1, 0]), np.array([0, 255, 255, 3]), Rescale(1 << 30, 1)).tolist() == [0, 0, 0, 0]
