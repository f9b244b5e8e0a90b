"""Requantisation proofs: equal to the reference for every accumulator, and refused where it is not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memaopt import fixedpoint
from memaopt.kernels.rounding import cleared
from memaopt.kernels.rounding.requantize import Proven, prove_multiply, prove_multiply_add
from memaopt.kernels.rounding.thresholds import thresholds
from memaopt.problems.step_functions import AccumulatorRange, Average, Requantization


def _requantization(scales: np.ndarray, zero_point: int, clamp: tuple[int, int], in_double: bool) -> Requantization:
    if in_double:
        return Requantization(zero_point, *clamp, scales=scales)
    multipliers, shifts = fixedpoint.quantize_multipliers(scales)
    return Requantization(zero_point, *clamp, multipliers=multipliers, shifts=shifts)


def _outputs(proven: Proven, accumulators: np.ndarray, scale: int, clamp: tuple[int, int]) -> np.ndarray:
    """What SMMLA and SSAT give, in plain integers, for accumulators [n, channels]."""
    held = fixedpoint.wrap_int32(np.where(proven.multiplier == 0, 0, scale * accumulators + proven.start))
    addend = proven.addend + (np.where(held < 0, proven.negative, 0) if proven.negative is not None else 0)
    if proven.cleared:
        addend = proven.addend & ~((held & 0xFFFFFFFF) >> (32 - proven.cleared))
    y: np.ndarray = np.clip((((held * proven.multiplier) >> 32) + addend) >> proven.shift, -128, 127)
    low, high = clamp
    if proven.clamp_low:
        y = np.maximum(y, low)
    if proven.clamp_high:
        y = np.minimum(y, high)
    return y


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(2.0**-16, 0.9), min_size=1, max_size=5),
    st.integers(-128, 127),
    st.tuples(st.integers(-128, 127), st.integers(-128, 127)).map(lambda pair: tuple(sorted(pair))),
    st.booleans(),
    st.integers(1, 40_000),
    st.integers(-30_000, 30_000),
    st.sampled_from([256, 576]),
)
def test_every_accumulator(scales, zero_point, clamp, in_double, half, middle, scale) -> None:  # type: ignore[no-untyped-def]
    """An accumulator for which a proven sequence differs from the reference; all of the range are tried."""
    q = _requantization(np.array(scales), zero_point, clamp, in_double)
    ends = np.full(len(scales), middle - half), np.full(len(scales), middle + half)
    span = AccumulatorRange(*ends)
    every = np.arange(middle - half, middle + half + 1)[:, None] * np.ones(len(scales), np.int64)
    whole = prove_multiply_add(q, span, scale, step=scale)
    assert whole is None or not (whole.start % scale).any()
    fewest = cleared.prove_multiply_add(q, span, scale)
    for proven in (prove_multiply_add(q, span, scale), whole, prove_multiply(q, span, scale), fewest):
        if proven is not None and not (proven.constant.any() and (proven.addend == 0).all()):
            np.testing.assert_array_equal(_outputs(proven, every, scale, clamp), q.apply(every))


def test_thresholds_against_brute_force() -> None:
    """A threshold that is off by one, or outside the range."""
    q = _requantization(np.array([0.013, 0.4, 1e-9]), 3, (-100, 90), False)
    span = AccumulatorRange(np.array([-9000, -200, -50]), np.array([7000, 300, 50]))
    found = thresholds(q, span)
    for channel in range(3):
        every = np.arange(span.low[channel], span.high[channel] + 1)
        outputs = q.apply(np.stack([every] * 3, axis=1))[:, channel]
        for wanted, at in zip(found.outputs, found.at[channel], strict=True):
            reached = every[outputs >= wanted]
            assert at == (reached[0] if len(reached) else span.high[channel] + 1)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 6, 7, 9, 64, 125, 255])
def test_averages(count: int) -> None:
    """A sum for which the product is not TFLite's rounded division."""
    average = Average(count, -90, 100)
    span = AccumulatorRange(np.array([-128 * count]), np.array([127 * count]))
    proven = prove_multiply_add(average, span, 256)
    assert proven is not None
    every = np.arange(-128 * count, 127 * count + 1)[:, None]
    np.testing.assert_array_equal(_outputs(proven, every, 256, (-90, 100)), average.apply(every))


def test_channels_far_apart_share_a_shift() -> None:
    """Channels whose scales differ by 2^12, and one that is constant, as in the wake words network."""
    scales = np.array([2.0**-5.3, 2.0**-8.3, 2.0**-14.7, 2.0**-17.2, 2.0**-7, 0.99])
    q = _requantization(scales, -128, (-128, 127), False)
    low = np.array([-61_023, -32_912, 501_087, 900_000, 9_000_000, 5])
    high = np.array([13_947, 80_053, 637_257, 990_000, 9_000_900, 5])
    span = AccumulatorRange(low, high)
    proven = prove_multiply_add(q, span, 256)
    assert proven is not None
    assert proven.constant.tolist() == [False, False, False, False, True, True]
    for channel in range(6):
        every = np.arange(low[channel], high[channel] + 1)[:, None] * np.ones(6, np.int64)
        got = _outputs(proven, every, 256, (-128, 127))[:, channel]
        np.testing.assert_array_equal(got, q.apply(every)[:, channel])


def test_refused_beyond_32_bits() -> None:
    """A proof for accumulators that the kernel could not hold."""
    q = _requantization(np.array([1e-5]), 0, (-128, 127), False)
    assert prove_multiply_add(q, AccumulatorRange(np.array([-(1 << 24)]), np.array([1 << 24])), 256) is None


@pytest.mark.parametrize(
    ("powers", "found"),
    [((-9.3,), True), ((-6.2, -8.9), True), ((-10.9, -8.1, -9.5), True), ((-4.5,), True), ((-4.5, -11.7), False)],
)
@pytest.mark.parametrize("zero_point", [-100, 0, 90])
def test_bits_of_an_addend_are_cleared(powers: tuple[float, ...], found: bool, zero_point: int) -> None:
    """A sign that costs two instructions where one would do, or one for channels too far apart; accumulators past those
    whose sign alone clears bits."""
    q = _requantization(2.0 ** np.array(powers), zero_point, (-128, 127), False)
    half = 700_000
    span = AccumulatorRange(*(np.full(len(powers), end) for end in (-half, half)))
    every = np.arange(-half, half + 1)[:, None] * np.ones(len(powers), np.int64)
    for offset in (None, np.full(len(powers), 128)):
        proven = cleared.prove_multiply_add(q, span, 256, offset)
        assert proven is not None
        assert (proven.cleared > 0, proven.negative is None) == (found, found)
        if offset is None:
            np.testing.assert_array_equal(_outputs(proven, every, 256, (-128, 127)), q.apply(every))
            assert 256 * half >= 1 << (32 - proven.cleared) or not found


def test_bits_are_cleared_at_another_slope() -> None:
    """Two instructions for the sign of a channel that leaves b no room at any m near its scale, but at one far off."""
    q = Requantization(41, multipliers=np.array([1186097133]), shifts=np.array([-5]))
    ends = np.array([-32182]), np.array([20093])
    every = np.arange(ends[0][0], ends[1][0] + 1)[:, None]
    proven = cleared.prove_multiply_add(q, AccumulatorRange(*ends), 256)
    assert proven is not None
    assert proven.cleared
    np.testing.assert_array_equal(_outputs(proven, every, 256, (-128, 127)), q.apply(every))
