"""MUL, rounded in three instructions that are proven by trying every pair of inputs.

A product p = (x - zx)(y - zy) is requantised as an accumulator is: out = (H(128 p m) + c) >> shift, where H is the
high word (SMMLA) and c may depend on the sign of p. The factor 128 gives H the bits that p lacks: SHSUB16 halves
256 x - 256 zx, which needs 17 bits, without losing one.
"""

import math
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from memaopt.fixedpoint import Int64Array
from memaopt.kernels.code import Rendered
from memaopt.kernels.elementwise.runs import PairKernel, PairRun, emitted_runs, pairs_plan, runs_of
from memaopt.kernels.emitted import Emitted, binary
from memaopt.kernels.family import data_bytes, dimensions
from memaopt.kernels.plan import Plan
from memaopt.kernels.rounding.output import Output
from memaopt.kernels.text.c import Array
from memaopt.problems.binary import Binary, BinaryKind
from memaopt.problems.step_functions import INT8_MAX, INT8_MIN

_FAR = np.int64(1) << 40
_STEPS: list[int] = sorted(range(-4, 5), key=abs)
_SCALE = 128


class ProductFactors(NamedTuple):
    """(H(128 p m) + c) >> shift, with c + negative in place of c where p < 0."""

    m: int
    c: int
    negative: int
    shift: int
    clamp_low: bool
    clamp_high: bool


def prove_product(layer: Binary) -> ProductFactors | None:
    """Factors that give the layer's output for every pair of inputs, or None if none were found."""
    x = np.arange(INT8_MIN, INT8_MAX + 1, dtype=np.int64)
    pairs = (x[:, None] - layer.first_zero_point) * (x[None, :] - layer.second_zero_point)
    p, where = np.unique(pairs, return_index=True)
    wanted = layer.apply(x[:, None], x[None, :]).reshape(-1)[where]
    scale = float(layer.result.multiplier) * 2.0 ** (layer.result.shift - 31)
    if scale <= 0:
        return None
    most = min(22, math.floor(math.log2(((1 << 31) - 16) * _SCALE / scale)) - 32)
    for shift in range(most, max(most - 4, 0), -1):
        for step in _STEPS:
            m = round(scale * 2.0 ** (32 + shift) / _SCALE) + step
            value = (_SCALE * p * m) >> 32
            least, greatest = _bounds(layer, wanted, value, shift)
            for negative in ((p < 0) & False, p < 0):
                found = [_constant(least[side], greatest[side]) for side in (~negative, negative)]
                if m <= 0 or None in found:
                    continue
                c, below = (int(side) for side in found if side is not None)
                below = below if negative.any() else c
                total = value + np.where(negative, below, c)
                if max(abs(c), abs(below), abs(below - c), int(np.abs(total).max())) >= 1 << 31:
                    continue
                low, high = int(total.min()) >> shift, int(total.max()) >> shift
                return ProductFactors(
                    m,
                    c,
                    below - c,
                    shift,
                    clamp_low=layer.minimum > INT8_MIN and low < layer.minimum,
                    clamp_high=layer.maximum < INT8_MAX and high > layer.maximum,
                )
    return None


def _bounds(layer: Binary, wanted: Int64Array, value: Int64Array, shift: int) -> tuple[Int64Array, Int64Array]:
    """For each product, the least and the greatest c that gives its output."""
    least = np.where(wanted > layer.minimum, (wanted << shift) - value, -_FAR)
    greatest = np.where(wanted < layer.maximum, ((wanted + 1) << shift) - 1 - value, _FAR)
    return least, greatest


def _constant(least: npt.NDArray[np.int64], greatest: npt.NDArray[np.int64]) -> int | None:
    """A c between all bounds, in the middle where there are both."""
    low, high = int(least.max(initial=-_FAR)), int(greatest.min(initial=_FAR))
    if low > high:
        return None
    if low > -_FAR and high < _FAR:
        return (low + high) // 2
    return low if low > -_FAR else min(high, 0)


class Product:
    """MUL, broadcast as :func:`runs_of` has it."""

    name = "product"
    computes = Binary

    def plans(self, layer: Binary) -> tuple[Plan, ...]:
        runs = runs_of(layer)
        if layer.kind is not BinaryKind.MUL or layer.table or runs is None:
            return ()
        factors = _factors(layer)
        if factors is None:
            return ()
        kernel_of = partial(_kernel, _output(layer, factors))
        return (pairs_plan(self.name, layer, runs, kernel_of, stack=96, data=20),)

    def emit(self, layer: Binary, plan: Plan, name: str) -> Emitted:
        factors, runs = _factors(layer), runs_of(layer)
        assert factors is not None
        assert runs is not None
        words = np.array(
            [
                factors.m,
                factors.c,
                factors.negative,
                _halfwords(256 * layer.first_zero_point),
                _halfwords(-layer.second_zero_point),
            ]
        )
        arrays = [Array("int32_t", f"{name}_factors", words, "m, c, what p < 0 adds to it, 256 zx and -zy, both twice")]
        assert data_bytes(arrays) == plan.data_bytes
        title = f"MUL of {dimensions(layer.first_shape)} and {dimensions(layer.second_shape)}"
        return emitted_runs(binary(name), plan, title, arrays, runs, partial(_kernel, _output(layer, factors)))


def _halfwords(value: int) -> int:
    """The value in both halves of a word, as an int32."""
    word = (value % (1 << 16)) * 0x10001
    return word - (1 << 32) if word >= 1 << 31 else word


def _output(layer: Binary, factors: ProductFactors) -> Output:
    return Output(
        factors.shift,
        factors.negative != 0,
        layer.minimum if factors.clamp_low else None,
        layer.maximum if factors.clamp_high else None,
    )


def _kernel(output: Output, run: PairRun) -> PairKernel:
    values = (("q", output), ("eights", run.eights > 0), ("rest", run.rest))
    return PairKernel(Rendered(f"product_{output.slug}{run.slug}", "kernels/products/product.c.j2", values), 5, 1)


@lru_cache(maxsize=256)
def _factors(layer: Binary) -> ProductFactors | None:
    return prove_product(layer)


FAMILIES = (Product(),)
