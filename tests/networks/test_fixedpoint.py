"""The fixed-point functions that networks need, against exact rational arithmetic and the functions they stand for."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from memaopt import fixedpoint


@given(
    st.one_of(
        st.floats(-1e9, 1e9),
        st.integers(-200, 200).map(lambda n: n / 2),
        st.sampled_from([0.49999999999999994, -0.49999999999999994, 4503599627370497.5]),
    )
)
def test_round_half_away_from_zero(x: float) -> None:
    """Catches floor(x + 0.5), which is wrong for the double just below one half and for negative ties."""
    exact = abs(Fraction(x))
    expected = (exact + Fraction(1, 2)).__floor__()
    assert float(fixedpoint.round_half_away_from_zero(x)) == math.copysign(expected, x)


@given(st.integers(-(2**31), 2**31 - 1), st.floats(1e-9, 0.9))
def test_requantize_in_double(x: int, scale: float) -> None:
    """Catches an integer multiplier in place of the double: the product is the double's, rounded once."""
    product = Fraction(float(x) * scale)
    expected = (abs(product) + Fraction(1, 2)).__floor__() * (1 if product >= 0 else -1)
    assert int(fixedpoint.requantize_in_double(x, scale)) == expected


@given(st.floats(-1e6, 1e6))
def test_quantize_multipliers(scale: float) -> None:
    """Catches a difference between the array form and the scalar one, and a lost sign."""
    multiplier, shift = fixedpoint.quantize_multipliers(scale)
    magnitude = fixedpoint.quantize_multiplier(abs(scale))
    assert (abs(int(multiplier)), int(shift)) == magnitude
    assert int(multiplier) * scale >= 0


def test_exp_on_negative_values() -> None:
    """Catches a wrong constant or bit: within 2^-21 of exp over its whole range, and 1 at 0."""
    x = np.arange(-(2**31) + 2**20, 1, 99_991)
    exact = np.exp(x / 2.0**26)
    assert np.abs(fixedpoint.exp_on_negative_values(x) / 2.0**31 - exact).max() < 2.0**-21
    assert int(fixedpoint.exp_on_negative_values(0)) == 2**31 - 1
    finer = np.arange(-(2**31) + 2**20, 1, 99_991)
    assert np.abs(fixedpoint.exp_on_negative_values(finer, 4) / 2.0**31 - np.exp(finer / 2.0**27)).max() < 2.0**-21


def test_one_over_one_plus_x() -> None:
    """Catches too few Newton steps: within 2^-27 of the reciprocal."""
    x = np.arange(0, 2**31, 65_537)
    exact = 1 / (1 + x / 2.0**31)
    assert np.abs(fixedpoint.one_over_one_plus_x(x) / 2.0**31 - exact).max() < 2.0**-27
