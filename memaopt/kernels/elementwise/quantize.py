"""QUANTIZE of float32, four elements a turn, without a division.

The reference divides in float and rounds: out = clamp(zero point + round(fl(x / scale))), a non-decreasing function of
x. Here a product takes the quotient's place: y = fl(x r) where the scale's reciprocal r is a float, else
y = fl(x r + fl(x s)) with one rounding (VFMA) of the nearest float r below the reciprocal and of what s is left. Both
are non-decreasing as well, so they give the reference's output for every float if they do at the least float of each
output and at the float below it: 510 of them are tried, exactly.

y in 1/2^16 is rounded away from zero by adding a half, less one where y is negative; all sums saturate, and what is no
number is 0.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from memaopt.access import loads, stores
from memaopt.fixedpoint import Int64Array
from memaopt.kernels import around
from memaopt.kernels.around import piece
from memaopt.kernels.code import Call, Rendered
from memaopt.kernels.elementwise.floats import QUANTIZED, float_text
from memaopt.kernels.emitted import Emitted, emitted
from memaopt.kernels.executed import cycles_of, words_of
from memaopt.kernels.plan import Plan, Promise, saved
from memaopt.kernels.text.c import short_name
from memaopt.problems.layers import Quantize
from memaopt.problems.step_functions import INT8_MAX, INT8_MIN

Floats = npt.NDArray[np.float32]
_OUTPUTS = np.arange(INT8_MIN + 1, INT8_MAX + 1, dtype=np.int64)
_INFINITE, _SIGN = 0x7F800000, 1 << 31
_STEP = 16  # y is converted in 1/2^16


class Factors(NamedTuple):
    """y = fl(x factor), or with ``rest`` fl(x factor + fl(x rest))."""

    factor: np.float32
    rest: np.float32 | None


@dataclass(frozen=True)
class QuantizeFours:
    """For a scale whose factors are proven; up to three elements left over are divided."""

    name: str = "quantize fours"
    computes: type[Quantize] = Quantize

    def plans(self, layer: Quantize) -> tuple[Plan, ...]:
        n = layer.elements
        turns, left = divmod(n, 4)
        factors = factors_of(layer) if turns else None
        if factors is None:
            return ()
        kernel = _kernel(layer, factors)
        call = Call(kernel, (turns,))
        code = (piece(around.CALL), call, around.each(left, *QUANTIZED))
        size = 4 * words_of(call)
        return (
            Plan(
                family=self.name,
                tile="4",
                cycles=round(cycles_of(code)),
                promise=Promise((loads(n, 4),), stores(turns, 4) + stores(left, 1), stack=saved(4)),
                data_bytes=0,
                code_bytes=size + _behind(left, layer.even),
                stack_bytes=36,
                kernels=(kernel.name,),
                shared_bytes=size,
                code=code,
                # Of sixteen bytes that are read four are written, from the first on.
                lead=-12,
                alignment=4,
                requantization="a product instead of a quotient, proven for every float",
            ),
        )

    def emit(self, layer: Quantize, plan: Plan, name: str) -> Emitted:
        factors, (turns, left) = factors_of(layer), divmod(layer.elements, 4)
        assert factors is not None
        kernel = _kernel(layer, factors)
        return emitted(
            f"void {name}(const float *in, int8_t *out, void *scratch)",
            plan,
            f"QUANTIZE float32 -> int8, {layer.elements} elements",
            "kernels/elementwise/quantize_fours_layer.c.j2",
            kernels=(kernel,),
            layer=layer,
            kernel=kernel.name,
            scale=float_text(layer.scale),
            turns=turns,
            left=left,
        )


def _behind(left: int, even: bool) -> int:
    """Bytes of code of so many elements left over, which GCC writes out if there are two."""
    if left == 2:
        return 428 if even else 308
    return 260 if left else 20


def _kernel(layer: Quantize, factors: Factors) -> Rendered:
    scale = float_text(layer.scale)
    details = f"scale {scale}, zero point {layer.zero_point}{', ties to even' if layer.even else ''}"
    values = (
        ("scale", scale),
        ("even", layer.even),
        ("zero_point", layer.zero_point),
        ("step", _STEP),
        ("factor", _bits(factors.factor)),
        ("rest", None if factors.rest is None else _bits(factors.rest)),
    )
    return Rendered(short_name("quantize_fours", details), "kernels/elementwise/quantize_fours.c.j2", values)


def _bits(value: np.float32) -> int:
    return int(value.view(np.uint32))


@lru_cache(maxsize=256)
def factors_of(layer: Quantize) -> Factors | None:
    """Factors that give the layer's output for every float; None if none are found."""
    at_least = _least_inputs(layer)
    with np.errstate(all="ignore"):
        scale = np.float32(layer.scale)
        exact = np.float64(1) / np.float64(scale)
        factor = np.float32(exact)
        if not (np.isfinite(factor) and factor > 0):
            return None
        if np.float64(factor) > exact:
            factor = np.nextafter(factor, np.float32(0))
        # The remainder of the division is exact: what the factor leaves of 1 needs 48 bits.
        rest = np.float32((1 - np.float64(factor) * np.float64(scale)) / np.float64(scale))
        # An infinite x must stay infinite, so no factor is 0.
        rest = max(rest, np.nextafter(np.float32(0), np.float32(1)))
        for found in (Factors(factor, None), Factors(factor, rest)):
            if _holds(layer, found, at_least[0], reached=True) and _holds(layer, found, at_least[1], reached=False):
                return found
    return None


def _holds(layer: Quantize, factors: Factors, x: Floats, *, reached: bool) -> bool:
    """Whether each x gives its output or more, or each less than that."""
    return bool(((outputs(layer, factors, x) >= _OUTPUTS) == reached).all())


def outputs(layer: Quantize, factors: Factors, x: Floats) -> Int64Array:
    """What the kernel computes, instruction by instruction."""
    with np.errstate(all="ignore"):
        y = x * factors.factor if factors.rest is None else _fused(x, factors.factor, x * factors.rest)
    number = np.where(np.isnan(y), 0, y.astype(np.float64))
    least, greatest = -(1 << 31), (1 << 31) - 1
    if layer.even:
        total = np.clip(np.rint(number), least, greatest).astype(np.int64) + layer.zero_point
    else:
        steps = np.clip(np.trunc(number * 2.0**_STEP), least, greatest).astype(np.int64)
        half = (layer.zero_point << _STEP) + (1 << (_STEP - 1))
        total = np.clip(steps + half - (steps < 0), least, greatest) >> _STEP
    found: Int64Array = np.clip(total, INT8_MIN, INT8_MAX)
    return found


def _fused(x: Floats, factor: np.float32, addend: Floats) -> Floats:
    """fl(x factor + addend), rounded once: the product is exact in double; their sum is rounded to odd there, from
    which rounding to float is as from the exact one (Boldo and Melquiond, 2008).
    """
    product, other = x.astype(np.float64) * np.float64(factor), addend.astype(np.float64)
    total = product + other
    back = total - product
    error = (product - (total - back)) + (other - back)
    even = (total.view(np.int64) & 1) == 0
    odd = np.nextafter(total, np.where(error > 0, np.inf, -np.inf))
    nearer: Floats = np.where(np.isfinite(total) & (error != 0) & even, odd, total).astype(np.float32)
    return nearer


def _least_inputs(layer: Quantize) -> tuple[Floats, Floats]:
    """For each output but the least, the least float that gives it or more, and the float below that."""
    low, high = np.full(_OUTPUTS.size, -_INFINITE, np.int64), np.full(_OUTPUTS.size, _INFINITE, np.int64)
    while (high - low > 1).any():
        middle = (low + high) // 2
        enough = layer.apply(_floats(middle)) >= _OUTPUTS
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    return _floats(high), _floats(low)


def _floats(places: Int64Array) -> Floats:
    """Floats by their places in ascending order; 0 is that of 0."""
    return np.where(places < 0, -places | _SIGN, places).astype(np.uint32).view(np.float32)


FAMILIES = (QuantizeFours(),)
