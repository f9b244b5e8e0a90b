"""MUL, rounded in few instructions that are proven by trying every pair of inputs.

The reference rounds a product p = (x - zx)(y - zy) twice: r = round(p m / 2^31), ties up, then round(r / 2^e), ties
away from zero. SMMLAR of 2 p and m is r, to which it adds the zero point and one half in 1/2^e; less one where p < 0,
and the shift (SSAT) is the second rounding. SXTAB16 makes x - zx of two bytes, and twice that by adding them once more.

Where p is never negative, or ties do not show, both roundings are one: with t = H(m 256 x) + k, which is a multiple of
x - zx, out = (H(t (y - zy)) + c) >> shift, where H drops 16 bits (SMLAWx). Factors next to the real one are tried.
"""

import math
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np

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
_SHIFTS = 4
#: Shifts to the right beyond which a zero point has no room.
_FARTHEST = 22
_X = np.arange(INT8_MIN, INT8_MAX + 1, dtype=np.int64)[:, None]
_Y = _X.T


class ProductFactors(NamedTuple):
    """(H(t (y - zy)) + c) >> shift with t = H(m 256 x) + k; without a k both roundings apart, less ``negative`` (0 or
    1) where a product is below 0."""

    m: int
    k: int | None
    c: int
    negative: int
    shift: int
    clamp_low: bool
    clamp_high: bool


def prove_product(layer: Binary) -> ProductFactors | None:
    """Factors that give the layer's output for every pair of inputs, or None if none were found."""
    wanted = layer.apply(_X, _Y)
    return _at_once(layer, wanted) or _apart(layer, wanted)


def _apart(layer: Binary, wanted: Int64Array) -> ProductFactors | None:
    """Both roundings, one after the other."""
    multiplier, shift = layer.result.multiplier, -layer.result.shift
    if multiplier <= 0 or not 0 <= shift <= _FARTHEST:
        return None
    c = (layer.zero_point << shift) + (1 << shift >> 1)
    twice = 2 * (_X - layer.first_zero_point) * (_Y - layer.second_zero_point)
    negative = int((twice < 0).any() and shift > 0)
    total = ((twice * multiplier + (1 << 31)) >> 32) + c - negative * (twice < 0)
    return _checked(layer, wanted, total, ProductFactors(multiplier, None, c, negative, shift, False, False))


def _at_once(layer: Binary, wanted: Int64Array) -> ProductFactors | None:
    """Both roundings at once."""
    scale = float(layer.result.multiplier) * 2.0 ** (layer.result.shift - 31)
    if scale <= 0:
        return None
    farthest = int(np.abs(_X - layer.first_zero_point).max())
    largest = min((1 << 31) - 16, ((1 << 39) - 4096) / farthest)
    most = min(22, math.floor(math.log2(largest / scale)) - 24)
    for shift in range(most, max(most - _SHIFTS, 0), -1):
        for step in _STEPS:
            m = round(scale * 2.0 ** (24 + shift)) + step
            k = -(m * 256 * layer.first_zero_point >> 16)
            t = (m * 256 * _X >> 16) + k
            if not 0 < m < 1 << 31 or max(abs(k), int(np.abs(t).max())) >= 1 << 31:
                continue
            value = t * (_Y - layer.second_zero_point) >> 16
            least = int(np.where(wanted > layer.minimum, (wanted << shift) - value, -_FAR).max())
            greatest = int(np.where(wanted < layer.maximum, ((wanted + 1) << shift) - 1 - value, _FAR).min())
            if least > greatest:
                continue
            # Bounded on one side only, it is that bound.
            c = (least + greatest) // 2 if least > -_FAR and greatest < _FAR else max(least, min(greatest, 0))
            found = ProductFactors(m, k, c, 0, shift, False, False)
            if abs(c) < 1 << 31 and (proven := _checked(layer, wanted, value + c, found)) is not None:
                return proven
    return None


def _checked(layer: Binary, wanted: Int64Array, total: Int64Array, found: ProductFactors) -> ProductFactors | None:
    """The factors with the clamps that they need, if the totals of all pairs of inputs, shifted and clamped, are what
    is wanted; a total has 32 bits."""
    outputs = total >> found.shift
    if int(np.abs(total).max()) >= 1 << 31 or (np.clip(outputs, layer.minimum, layer.maximum) != wanted).any():
        return None
    low, high = int(outputs.min()), int(outputs.max())
    return found._replace(
        clamp_low=layer.minimum > INT8_MIN and low < layer.minimum,
        clamp_high=layer.maximum < INT8_MAX and high > layer.maximum,
    )


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
        # More a turn are faster at once, but a text that a cache of code does not hold waits in every turn.
        made = (
            pairs_plan(self.name, layer, runs, partial(_kernel, layer, factors, most), stack=96, data=_BYTES)
            for most in _EIGHTS
        )
        return tuple({plan.tile: plan for plan in made}.values())

    def emit(self, layer: Binary, plan: Plan, name: str) -> Emitted:
        factors, runs = _factors(layer), runs_of(layer)
        assert factors is not None
        assert runs is not None
        minus_y = _halfwords(-layer.second_zero_point)
        if factors.k is None:
            words, told = [factors.m, factors.c, _halfwords(-2 * layer.first_zero_point), minus_y], "m, c, -2 zx, -zy"
        else:
            words, told = [factors.m, factors.k, factors.c, minus_y], "m, k, c, -zy"
        arrays = [Array("int32_t", f"{name}_factors", np.array(words), f"{told}; zero points twice")]
        assert data_bytes(arrays) == plan.data_bytes
        title = f"MUL of {dimensions(layer.first_shape)} and {dimensions(layer.second_shape)}"
        return emitted_runs(
            binary(name), plan, title, arrays, runs, partial(_kernel, layer, factors, int(plan.tile) // 8)
        )


#: Eights of elements that a turn has at most.
_EIGHTS = (4, 2, 1)
#: Of the constants: four words and one apart (:class:`Array`).
_BYTES = 20


def _halfwords(value: int) -> int:
    """The value in both halves of a word, as an int32."""
    word = (value % (1 << 16)) * 0x10001
    return word - (1 << 32) if word >= 1 << 31 else word


def _kernel(layer: Binary, factors: ProductFactors, most: int, run: PairRun) -> PairKernel:
    """By 8, 16 or 32 elements in a turn, as many as divide a run and are at most 8 ``most``; not by 32 with clamps,
    which no small cache holds."""
    output = Output(
        factors.shift,
        False,
        layer.minimum if factors.clamp_low else None,
        layer.maximum if factors.clamp_high else None,
    )
    most = min(most, 2) if factors.clamp_low or factors.clamp_high else most
    eights = next(n for n in _EIGHTS if n <= most and run.eights % n == 0) if run.eights else 1
    form = "_at_once" if factors.k is not None else "_signed" if factors.negative else ""
    values = (
        ("q", output),
        ("at_once", factors.k is not None),
        ("negative", factors.negative),
        ("words", 2 * eights),
        ("eights", run.eights > 0),
        ("rest", run.rest),
    )
    name = f"product{form}_by_{8 * eights}_{output.slug}{run.slug}"
    return PairKernel(Rendered(name, "kernels/products/product.c.j2", values), 4, 1, eights)


@lru_cache(maxsize=256)
def _factors(layer: Binary) -> ProductFactors | None:
    return prove_product(layer)


FAMILIES = (Product(),)
