"""ADD and SUB as a weighted sum in fixed point, proven by trying every pair of inputs.

The reference rescales each input, adds, and rescales the sum: with its roundings a function of 65,536 pairs. Here
SMLAWx multiplies a 32-bit factor by a 16-bit input and keeps the upper 32 bits, twice, and SSAT shifts:
out = (H(a x) + H(b y) + c) >> shift. For given factors every pair bounds c from one side or both; factors next to
the real ones are tried until the bounds leave a c, and then steeper ones: the reference rounds ties away from zero,
on both sides of it, and of scales whose ratio is a power of two many sums are ties. Inputs may be scaled by 256
first, which costs half a cycle an element more and gives the factors eight more bits.

With inputs scaled so and a shift of 16 a sum's upper half is the output before it saturates: PKHTB puts two of them
into a word, USAT16 saturates both, and four bytes are stored at once. AND with 0xff00ff00, of a word and of one
shifted, scales four elements.

Inputs of one scale are added first: SXTB16 and SXTAB16 make two sums of 9 bits, and one product rounds each,
out = (H(a (x + y)) + c) >> shift.
"""

import math
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np

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
_STEPS: list[int] = sorted(range(-3, 4), key=abs)
#: A factor is steeper by its half to the power of one of these; both are, or that of the input which alone makes ties.
_BITS, _WHICH = range(6, 22), ((1, 1), (1, 0), (0, 1))
#: Of the one factor of two inputs, likewise.
_STEEPER: list[int] = [0, *(sign << bits for bits in range(20) for sign in (1, -1))]
_UPPER = 16  # the shift that leaves the upper half


class SumFactors(NamedTuple):
    """(H(a x) + H(b y) + c) >> shift, where H drops 16 bits and inputs are scaled by 256 if ``fine``."""

    a: int
    b: int
    c: int
    shift: int
    fine: bool
    clamp_low: bool
    clamp_high: bool
    highest: int = 0  # sum before the shift


def prove_sum(layer: Binary, fine: bool, only: int | None = None) -> SumFactors | None:
    """Factors that give the layer's output for every pair of inputs, or None if none were found; ``only``
    with this shift, if it is given."""
    x = np.arange(INT8_MIN, INT8_MAX + 1, dtype=np.int64)
    wanted = layer.apply(x[:, None], x[None, :])
    above, below = wanted > layer.minimum, wanted < layer.maximum
    scales = [float(r.multiplier) * 2.0 ** (r.shift - 31) for r in (layer.first, layer.second, layer.result)]
    sign = -1 if layer.kind is BinaryKind.SUB else 1
    first, second = (s * scales[2] * 2.0**layer.left_shift for s in (scales[0], sign * scales[1]))
    width, drop = (x * 256, 8) if fine else (x, 16)
    greatest = max(abs(first), abs(second), 2.0**-16)
    most = min(22 if fine else 15, math.floor(math.log2(((1 << 31) - 16) / greatest)) - drop)
    for shift in range(most, max(most - 3, 0), -1) if only is None else [only] * (only <= most):
        # Where a pair bounds c on one side only, the other bound stays far beyond 32 bits.
        floors = np.where(above, wanted << shift, -_FAR)
        ceilings = np.where(below, ((wanted + 1) << shift) - 1, _FAR)
        a, b = (round(f * 2.0 ** (shift + drop)) for f in (first, second))
        for d, e in _beside(a, b):
            value = ((a + d) * width >> 16)[:, None] + ((b + e) * width >> 16)[None, :]
            least, most = int((floors - value).max()), int((ceilings - value).min())
            if least > most:
                continue
            c = (least + most) // 2 if least > -_FAR // 2 and most < _FAR // 2 else max(least, -(1 << 30))
            total = value + c
            if max(abs(a + d), abs(b + e), abs(c), int(np.abs(total).max())) >= 1 << 31:
                continue
            low, high = int(total.min()) >> shift, int(total.max()) >> shift
            return SumFactors(
                a + d,
                b + e,
                c,
                shift,
                fine,
                clamp_low=layer.minimum > INT8_MIN and low < layer.minimum,
                clamp_high=layer.maximum < INT8_MAX and high > layer.maximum,
                highest=int(total.max()),
            )
    return None


def _beside(a: int, b: int) -> Iterator[tuple[int, int]]:
    """What two factors are tried with more: a few steps, the fewest first, then what makes them steeper."""
    yield from sorted(((d, e) for d in _STEPS for e in _STEPS), key=lambda pair: abs(pair[0]) + abs(pair[1]))
    for bits in _BITS:
        yield from ((first * a >> bits, second * b >> bits) for first, second in _WHICH)


class AlikeFactors(NamedTuple):
    """(H(a (x + y)) + c) >> shift, where H drops 16 bits."""

    a: int
    c: int
    shift: int


@lru_cache(maxsize=256)
def prove_alike(layer: Binary) -> AlikeFactors | None:
    """Those of an ADD of inputs of one scale, saturated, for every pair of inputs; None for others, or if none were
    found."""
    whole = (layer.minimum, layer.maximum) == (INT8_MIN, INT8_MAX)
    if layer.kind is not BinaryKind.ADD or layer.first != layer.second or not whole:
        return None
    x = np.arange(INT8_MIN, INT8_MAX + 1, dtype=np.int64)
    wanted, total = layer.apply(x[:, None], x[None, :]), x[:, None] + x[None, :]
    inner, result = (math.ldexp(r.multiplier, r.shift - 31) for r in (layer.first, layer.result))
    scale = math.ldexp(inner * result, layer.left_shift)
    if scale <= 0:
        return None
    # A sum of 9 bits leaves the product 31, of which the shift leaves the output.
    most = min(22, math.floor(math.log2(((1 << 31) - 16) / max(scale, 2.0**-16))) - 16)
    for shift in range(most, max(most - 3, 0), -1):
        floors = np.where(wanted > INT8_MIN, wanted << shift, -_FAR)
        ceilings = np.where(wanted < INT8_MAX, ((wanted + 1) << shift) - 1, _FAR)
        for step in _STEEPER:
            a = round(math.ldexp(scale, shift + 16)) + step
            value = a * total >> 16
            least, greatest = int((floors - value).max()), int((ceilings - value).min())
            if least > greatest or least <= -_FAR // 2 or greatest >= _FAR // 2:
                continue
            c = (least + greatest) // 2
            if max(abs(a), abs(c), int(np.abs(value + c).max())) < 1 << 31:
                return AlikeFactors(a, c, shift)
    return None


class WeightedSum:
    """ADD and SUB, broadcast as :func:`runs_of` has it."""

    name = "weighted sum"
    computes = Binary

    def plans(self, layer: Binary) -> tuple[Plan, ...]:
        runs = runs_of(layer)
        if not layer.kind.is_sum or layer.table or runs is None:
            return ()
        kernel_of = _kernels(layer)
        return () if kernel_of is None else (pairs_plan(self.name, layer, runs, kernel_of, stack=96, data=12),)

    def emit(self, layer: Binary, plan: Plan, name: str) -> Emitted:
        runs, kernel_of = runs_of(layer), _kernels(layer)
        assert runs is not None
        assert kernel_of is not None
        arrays = [_constants(layer, f"{name}_factors")]
        assert data_bytes(arrays) == plan.data_bytes
        shapes = f"{dimensions(layer.first_shape)} and {dimensions(layer.second_shape)}"
        return emitted_runs(binary(name), plan, f"{layer.kind.upper()} of {shapes}", arrays, runs, kernel_of)


#: What the constant has more where outputs saturate as 0 to 255.
_OFFSET = -INT8_MIN << _UPPER


def _constants(layer: Binary, name: str) -> Array:
    """What the kernels read."""
    if (alike := prove_alike(layer)) is not None:
        return Array("int32_t", name, np.array(alike[:2]), "a, c")
    by_words = _word_factors(layer)
    factors = by_words or factors_of(layer)
    assert factors is not None
    return Array("int32_t", name, np.array(factors[:3]) + ([0, 0, _OFFSET] if by_words else 0), "a, b, c")


def _kernels(layer: Binary) -> Callable[[PairRun], PairKernel] | None:
    """The kernel of each run; None without a proof."""
    if (alike := prove_alike(layer)) is not None:
        return partial(_alike_kernel, alike)
    if _word_factors(layer) is not None:
        return _word_kernel
    factors = factors_of(layer)
    return None if factors is None else partial(_kernel, factors, _output(layer, factors))


def _word_kernel(run: PairRun) -> PairKernel:
    """By two, four or eight words in a turn."""
    words, values = _turn(run)
    name = f"sum_words_by_{4 * words}{run.slug}"
    return PairKernel(Rendered(name, "kernels/sums/sum_words.c.j2", values), 3, 1, words // 2, by_words=True)


def _alike_kernel(factors: AlikeFactors, run: PairRun) -> PairKernel:
    """Likewise, of inputs of one scale."""
    words, values = _turn(run)
    name = f"sum_alike_by_{4 * words}_{factors.shift}{run.slug}"
    values = (("shift", factors.shift), *values)
    return PairKernel(Rendered(name, "kernels/sums/sum_alike.c.j2", values), 2, 1, words // 2, by_words=True)


def _turn(run: PairRun) -> tuple[int, tuple[tuple[str, int], ...]]:
    """Words of each input in a turn, two, four or eight, and what a text of such turns takes."""
    words = next(words for words in (8, 4, 2) if run.eights % (words // 2) == 0)
    halvings = words.bit_length() - 2
    return words, (("words", words), ("halvings", halvings), ("eights", run.eights > 0), ("rest", run.rest))


def _kernel(factors: SumFactors, output: Output, run: PairRun) -> PairKernel:
    name = f"weighted_sum_{output.slug}{'_fine' if factors.fine else ''}{run.slug}"
    values = (("fine", factors.fine), ("q_", output), ("eights", run.eights > 0), ("rest", run.rest))
    return PairKernel(Rendered(name, "kernels/sums/sum.c.j2", values), 3, 1)


def _output(layer: Binary, factors: SumFactors) -> Output:
    return Output(
        factors.shift,
        False,
        layer.minimum if factors.clamp_low else None,
        layer.maximum if factors.clamp_high else None,
    )


@lru_cache(maxsize=256)
def _word_factors(layer: Binary) -> SumFactors | None:
    """Those of sums that are put together as words: saturated, which is their only clamp."""
    if (layer.minimum, layer.maximum) != (INT8_MIN, INT8_MAX):
        return None
    found = prove_sum(layer, fine=True, only=_UPPER)
    return found if found is not None and found.highest + _OFFSET < 1 << 31 else None


@lru_cache(maxsize=256)
def factors_of(layer: Binary) -> SumFactors | None:
    """:func:`prove_sum` in the coarser precision, or else in the finer one."""
    return prove_sum(layer, fine=False) or prove_sum(layer, fine=True)


FAMILIES = (WeightedSum(),)
