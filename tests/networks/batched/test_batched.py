"""Many samples at once: the bits of the reference, whatever the operator, the scales and the sums."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from networks_helpers import CASES, inputs
from tensors_helpers import activation, constant, single

from memaopt.networks import operators as ops
from memaopt.networks import reference
from memaopt.networks.batched import sums
from memaopt.networks.batched.batched import Batched
from memaopt.networks.batched.rounding import rounder
from memaopt.networks.operators.attributes import Padding2D, Size2D
from memaopt.problems.step_functions import Requantization


@pytest.mark.parametrize("kind", CASES)
def test_operators(kind: str) -> None:
    """Catches an operator that is computed for all samples together where each index of the first axis matters, values
    of another type, and a rounding that differs."""
    for seed in range(3):
        rng = np.random.default_rng([zlib.crc32(kind.encode()), 7, seed])
        graph = CASES[kind](rng)
        given = list(inputs(rng, graph))
        expected = [reference.run(graph, values) for values in given]
        found = Batched(graph).run([np.stack(column) for column in zip(*given, strict=True)])
        for output, column in zip(found, zip(*expected, strict=True), strict=True):
            assert output.dtype == column[0].dtype
            np.testing.assert_array_equal(output, np.stack(column), f"{kind} seed {seed}")


@pytest.mark.parametrize("kind", [ops.Conv2D, ops.DepthwiseConv2D])
@pytest.mark.parametrize(
    ("stride", "dilation"), [((1, 1), (1, 1)), ((2, 3), (1, 1)), ((1, 1), (2, 3)), ((3, 2), (2, 2))]
)
def test_windows(kind: type[ops.Conv2D] | type[ops.DepthwiseConv2D], stride: tuple, dilation: tuple) -> None:
    """Catches a stride, a dilation or a padding that goes to the wrong axis, and an inner batch."""
    rng = np.random.default_rng(3)
    depth = kind is ops.DepthwiseConv2D
    window = {"stride": Size2D(*stride), "dilation": Size2D(*dilation), "padding": Padding2D(1, 2, 3, 0)}
    weights = rng.integers(-127, 128, (1, 3, 2, 5) if depth else (4, 3, 2, 5)).astype(np.int8)
    x, w = activation("x", (2, 9, 11, 5), 0.05, -7), constant("w", weights, np.float32([0.01]))
    bias = constant("b", rng.integers(-3000, 3000, 5 if depth else 4).astype(np.int32), np.float32([0.0005]))
    rows = (9 + 3 - 2 * dilation[0] - 1) // stride[0] + 1
    columns = (11 + 3 - dilation[1] - 1) // stride[1] + 1
    y = activation("y", (2, rows, columns, 5 if depth else 4), 0.1, 3)
    graph = single(kind, [x, w, bias, y], 1, **window)
    given = rng.integers(-128, 128, (5, 2, 9, 11, 5)).astype(np.int8)
    expected = np.stack([reference.run(graph, [value])[0] for value in given])
    np.testing.assert_array_equal(Batched(graph).run([given])[0], expected)


def test_sums_beyond_float32() -> None:
    """Catches partial sums above 2^24 in float32."""
    weights = np.full((2, 1200), 127, np.int8)
    weights[1, ::2] = -127
    tensors = [
        activation("x", (1, 1200), 0.05, 0),
        constant("w", weights, np.float32([1e-7])),
        activation("y", (1, 2), 1e-3, 0),
    ]
    graph = single(ops.FullyConnected, tensors, 1)
    found = sums.sums_of(graph, graph.operators[0])  # type: ignore[arg-type]
    given = np.random.default_rng(0).integers(-128, -100, (40, 1, 1200)).astype(np.int8)
    assert found is not None
    exact = given.reshape(40, 1200).astype(np.int64) @ weights.astype(np.int64).T
    np.testing.assert_array_equal(found.products(given), exact)
    expected = np.stack([reference.run(graph, [value])[0] for value in given])
    np.testing.assert_array_equal(Batched(graph).run([given])[0], expected)


@pytest.mark.parametrize("clamp", [(-128, 127), (-5, 127), (-128, 90), (10, 20)])
@pytest.mark.parametrize("form", ["twice", "once", "even"])
def test_every_sum_near_the_outputs(form: str, clamp: tuple[int, int]) -> None:
    """Catches an estimate that is taken where the exact arithmetic goes the other way: ties, and what rounding twice
    makes of values near them, on both sides of zero."""
    rng = np.random.default_rng(1)
    real = np.array([0.5, 2.0**-7, 3 * 2.0**-9, 1.0, 1.7, *rng.uniform(0.001, 0.3, 11)])
    shifts = np.frexp(real)[1].astype(np.int64)
    multipliers = np.minimum(np.ldexp(np.frexp(real)[0], 31).round(), 2.0**31 - 1).astype(np.int64)
    factors = {
        "twice": {"multipliers": multipliers, "shifts": shifts},
        "once": {"scales": real},
        "even": {"scales": real.astype(np.float32).astype(np.float64), "even": True},
    }
    q = Requantization(-5, *clamp, **factors[form])
    sums = np.arange(-40_000, 40_000)[:, None] + np.zeros(16, np.int64)
    constants = rng.integers(-30_000, 30_000, 16)
    np.testing.assert_array_equal(rounder(q, constants)(sums.astype(np.float32)), q.apply(sums + constants))
