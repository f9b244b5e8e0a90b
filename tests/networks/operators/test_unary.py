"""Unary operators: what their tables are where TFLite has none, and the scales that have none."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tensors_helpers import activation, single
from tflite_helpers import oracle_of

from memaopt import fixedpoint
from memaopt.errors import UnsupportedModelError
from memaopt.networks import checks, reference
from memaopt.networks.operators.registry import OPERATORS


@pytest.mark.parametrize(
    ("kind", "x", "y", "message"),
    [
        ("EXP", (0.5, -128), (0.1, 0), r"an output is inf steps of the output's scale; 2\^31 is supported"),
        ("EXP", (0.1, -128), (1e-3, 0), r"an output is 1\.\d+e\+14 steps of the output's scale; 2\^31 is supported"),
        ("LOG", (0.5, -128), (1e-9, 0), "steps of the output's scale"),
        ("GELU", (1e4, 0), (1e-9, 0), "steps of the output's scale"),
        ("SQRT", (0.5, -127), (0.1, 0), "input zero point -127 allows inputs below 0, which have no root; -128 is"),
        ("SQRT", (0.5, -128), (1e-9, 0), "steps of the output's scale"),
        ("RSQRT", (0.5, 0), (0.1, 0), "input zero point 0 allows inputs below 0"),
        ("RSQRT", (1e-30, -128), (1e-30, 0), "ratio of scales .* is out of range"),
        ("RSQRT", (1336.52, -128), (2446.81, 0), r"ratio of scales 1\.\d+e-05 is out of range; 2\^-12"),
        ("ABS", (1e9, 0), (1e-9, 0), "ratio of scales .* is out of range"),
    ],
)
def test_scales_without_a_table_are_refused(
    kind: str, x: tuple[float, int], y: tuple[float, int], message: str
) -> None:
    """Catches a table of what TFLite leaves undefined, or stops at, and a refusal that ends in a traceback."""
    graph = single(OPERATORS[kind], [activation("x", (4,), *x), activation("y", (4,), *y)], 1)
    with pytest.raises(UnsupportedModelError, match=message):
        checks.check(graph)


def test_a_negated_byte_wraps() -> None:
    """Catches NEG done in reals: TFLite negates what is stored."""
    graph = single(OPERATORS["NEG"], [activation("x", (4,), 0.5, 3), activation("y", (4,), 0.1, -7)], 1)
    values = np.array([-128, -1, 0, 127], np.int8)
    assert reference.run(graph, [values])[0].tolist() == [-128, 1, 0, -127]


def test_inverse_roots_are_close() -> None:
    """Catches a Newton step or a shift that is wrong for some magnitudes: 1 / sqrt(x) to 2^-19 of it."""
    for x in (*range(2, 300), 1 << 20, (1 << 29) - 1):
        multiplier, shift = fixedpoint.inverse_square_root(x)
        assert abs(multiplier * 2.0 ** (shift - 31) * math.sqrt(x) - 1) < 2.0**-19, x


def test_elu_takes_one_from_a_float() -> None:
    """Catches exp(x) - 1 of int8 computed at once: where steps are as small as those of floats near 1, TFLite Micro
    loses what is less."""
    graph = single(OPERATORS["ELU"], [activation("x", (256,), 2.7e-8, 127), activation("y", (256,), 5.2e-8, -1)], 1)
    every = np.arange(-128, 128).astype(np.int8)
    np.testing.assert_array_equal(reference.run(graph, [every])[0], oracle_of(graph).run([every])[0])
