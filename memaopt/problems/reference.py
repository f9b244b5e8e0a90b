"""What a GEMM computes, in numpy: the arithmetic that the emitted C is checked against, and seeded test data."""

import base64
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from memaopt import fixedpoint
from memaopt.problems.dtypes import Dtype
from memaopt.problems.gemm import Gemm
from memaopt.problems.geometry import Image, Pair, Window
from memaopt.problems.layers import Conv, FullyConnected
from memaopt.problems.step_functions import Requantization

Array = npt.NDArray[Any]

#: Unit roundoff of single precision.
F32_ROUNDOFF = 2.0**-24


class Channels(NamedTuple):
    """s8 parameters, int32 [M] each: bias with the input's zero point folded in, multiplier, left and right shift."""

    bias: Array
    multiplier: Array
    left: Array
    right: Array


class GemmData(NamedTuple):
    """Operands as stored (A [M,K], B [K,N] or [N,K] for s8), and the s8 channels."""

    a: Array
    b: Array
    channels: Channels | None


def fold_zero_point(problem: Gemm, a: Array, bias: Array) -> Array:
    """TFLite's bias [M] less input_zero_point times the sum of each channel's weights: what the kernels start from."""
    return np.asarray(np.asarray(bias, np.int64) - problem.input_zero_point * np.asarray(a, np.int64).sum(axis=1))


class Arithmetic(NamedTuple):
    """What a dtype computes: C as stored, exact or in float64; seeded operands for a problem, by a generator and its
    seed, that use the whole range without overflowing the accumulators; how far a result may be off, where it may."""

    multiply: Callable[[Gemm, GemmData], Array]
    operands: Callable[[Gemm, np.random.Generator, int], GemmData]
    bound: Callable[[Gemm, GemmData], Array] | None = None


def _f32(problem: Gemm, data: GemmData) -> Array:
    return np.asarray(data.a.astype(np.float64) @ data.b.astype(np.float64))


def _f32_operands(problem: Gemm, rng: np.random.Generator, seed: int) -> GemmData:
    m, k, n = problem.m, problem.k, problem.n
    return GemmData(rng.standard_normal((m, k), np.float32), rng.standard_normal((k, n), np.float32), None)


def f32_error_bound(problem: Gemm, data: GemmData) -> Array:
    """How far an f32 result may be from the float64 product: gamma(K) times |A| |B|, element by element.

    Each of K products and K sums rounds once (Higham, Accuracy and Stability of Numerical Algorithms, 3.1).
    """
    n = problem.k + 1
    gamma = n * F32_ROUNDOFF / (1 - n * F32_ROUNDOFF)
    return np.asarray(gamma * (np.abs(data.a).astype(np.float64) @ np.abs(data.b).astype(np.float64)))


def _q15(problem: Gemm, data: GemmData) -> Array:
    product = data.a.astype(np.int64) @ data.b.astype(np.int64)
    return fixedpoint.round_q15(fixedpoint.wrap_int32(product)).astype(np.int16)


def q15_operands(problem: Gemm, rng: np.random.Generator, seed: int) -> GemmData:
    """Any int16."""
    a = rng.integers(-32768, 32768, (problem.m, problem.k)).astype(np.int16)
    return GemmData(a, rng.integers(-32768, 32768, (problem.k, problem.n)).astype(np.int16), None)


def _s8(problem: Gemm, data: GemmData) -> Array:
    """C is [N,M]."""
    if data.channels is None:
        raise ValueError("s8 needs channels")
    sums = data.b.astype(np.int64) @ data.a.astype(np.int64).T + data.channels.bias
    shift = np.asarray(data.channels.left, np.int64) - np.asarray(data.channels.right, np.int64)
    scaled = fixedpoint.multiply_by_quantized_multiplier(sums, data.channels.multiplier, shift)
    return np.clip(scaled + problem.output_zero_point, *problem.clamp).astype(np.int8)


def _s8_operands(problem: Gemm, rng: np.random.Generator, seed: int) -> GemmData:
    a, channels = random_constants(problem, seed) if problem.weights is None else constants(problem)
    return GemmData(a, rng.integers(-128, 128, (problem.n, problem.k)).astype(np.int8), channels)


ARITHMETIC: dict[Dtype, Arithmetic] = {
    "f32": Arithmetic(_f32, _f32_operands, f32_error_bound),
    "q15": Arithmetic(_q15, q15_operands),
    "s8": Arithmetic(_s8, _s8_operands),
}


def multiply(problem: Gemm, data: GemmData) -> Array:
    """C as stored: exact for q15 and s8 ([N,M]); for f32 the float64 product."""
    return ARITHMETIC[problem.dtype].multiply(problem, data)


def wrong_elements(problem: Gemm, data: GemmData, result: Array) -> int:
    """The elements of ``result``, C as stored, that are wrong: in any bit (q15, s8), or beyond the bound (f32)."""
    expected, bound = multiply(problem, data), ARITHMETIC[problem.dtype].bound
    if bound is None:
        return int(np.count_nonzero(result != expected))
    return int(np.count_nonzero(~(np.abs(result.astype(np.float64) - expected) <= bound(problem, data))))


def random_data(problem: Gemm, seed: int = 0) -> GemmData:
    """Seeded operands that use the whole range without overflowing the accumulators; constants as they are."""
    return ARITHMETIC[problem.dtype].operands(problem, np.random.default_rng(seed), seed)


def constants(problem: Gemm) -> tuple[Array, Channels]:
    """A [M,K] and the channels of an s8 problem that has weights."""
    assert problem.weights is not None
    given = problem.weights
    if not given.given:
        return random_constants(problem, given.seed)
    a = np.frombuffer(base64.b64decode(given.a), np.int8).reshape(problem.m, problem.k)
    bias = fixedpoint.wrap_int32(fold_zero_point(problem, a, np.array(given.bias, np.int64)))
    return a, _channels(bias, given.multiplier, given.shift)


def random_constants(problem: Gemm, seed: int) -> tuple[Array, Channels]:
    """Seeded constants of an s8 problem, such that outputs are spread out."""
    rng = np.random.default_rng((seed, 1))
    m, k = problem.m, problem.k
    a = rng.integers(-127, 128, (m, k)).astype(np.int8)
    bias = fold_zero_point(problem, a, rng.integers(-1000, 1000, m))
    spread = 3.0 * 74 * 74 * np.sqrt(k)
    quantised = [fixedpoint.quantize_multiplier(scale) for scale in rng.uniform(0.5, 2.0, m) * 128 / spread]
    return a, _channels(bias, [q for q, _ in quantised], [s for _, s in quantised])


def _channels(bias: Array, multiplier: Sequence[int], shift: Sequence[int]) -> Channels:
    """The channels as the register kernels read them."""
    parts = (bias, np.array(multiplier), np.maximum(shift, 0), np.maximum(np.negative(shift), 0))
    return Channels(*(part.astype(np.int32) for part in parts))


def layers(problem: Gemm) -> tuple[Conv, FullyConnected]:
    """An s8 problem that has weights as layers of a network: a 1x1 convolution of N positions, and N rows."""
    a, channels = constants(problem)
    shifts = channels.left.astype(np.int64) - channels.right
    stage = Requantization(
        problem.output_zero_point, *problem.clamp, multipliers=channels.multiplier.astype(np.int64), shifts=shifts
    )
    bias = np.asarray(channels.bias + problem.input_zero_point * a.astype(np.int64).sum(axis=1), np.int64)
    m, k, n = problem.m, problem.k, problem.n
    kernel = a.reshape(m, 1, 1, k)
    window = Window(Pair(1, 1))
    conv = Conv(Image(1, n, k), Image(1, n, m), kernel, bias, window, problem.input_zero_point, stage)
    return conv, FullyConnected(n, a, bias, problem.input_zero_point, stage)
