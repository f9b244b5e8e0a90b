"""ADD and SUB as a weighted sum in fixed point, proven by trying every pair of inputs.

The reference rescales each input, adds, and rescales the sum: with its roundings a function of 65,536 pairs. Here
SMLAWx multiplies a 32-bit factor by a 16-bit input and keeps the upper 32 bits, twice, and SSAT shifts:
out = (H(a x) + H(b y) + c) >> shift. For given factors every pair bounds c from one side or both; factors next to
the real ones are tried until the bounds leave a c. Inputs may be scaled by 256 first, which costs half a cycle an
element more and gives the factors eight more bits.

With inputs scaled so and a shift of 16 a sum's upper half is the output before it saturates: PKHTB puts two of them
into a word, USAT16 saturates both, and four bytes are stored at once. AND with 0xff00ff00, of a word and of one
shifted, scales four elements.
"""

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from memaopt.access import loads, stores
from memaopt.kernels.code import Rendered
from memaopt.kernels.elementwise.pairs import PairCycles, Runs, pairs_plan, runs_of
from memaopt.kernels.emitted import Emitted, binary, emitted
from memaopt.kernels.family import data_bytes, dimensions
from memaopt.kernels.plan import Plan
from memaopt.kernels.rounding.output import Output
from memaopt.kernels.text.c import Array
from memaopt.problems.binary import Binary, BinaryKind
from memaopt.problems.step_functions import INT8_MAX, INT8_MIN

_FAR = np.int64(1) << 40
_STEPS: list[int] = sorted(range(-3, 4), key=abs)
_UPPER = 16  # the shift that leaves the upper half


class _Cycles(NamedTuple):
    """Of the kernels' parts, instruction by instruction (docs/timing.md), but for ``layer`` and ``each``
    (:class:`PairCycles`).
    """

    kernel: int = 10 + 2 + 4 - 1 + 12  # nine registers pushed and popped, factors; the last branch is not taken
    layer: int = 21
    each: int = 14
    loaded: int = 2 + 3  # four words: the first of loads in a row takes two
    spread: int = 4 + 4  # into halfwords
    spread_fine: int = 6 + 6  # into halfwords times 256
    products: int = 2  # of an element, beside its output stage, in which a store takes the place of SMMLA
    turn: int = 1 + 2  # counted, and back


class _WordCycles(NamedTuple):
    """Likewise of the kernel that puts sums together as words."""

    kernel: int = 10 + 2 + 4 + 1 + 1 - 1 + 12  # likewise; a mask, and turns instead of eights
    layer: int = 21
    each: int = 14
    word: int = 2 + 1 + 4 + 8 + 6 + 1  # two loads, four masks, eight products, put together, stored
    turn: int = 1 + 2


_CYCLES, _WORD_CYCLES = _Cycles(), _WordCycles()


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
        rows = {d: ((a + d) * width) >> 16 for d in _STEPS}
        columns = {d: ((b + d) * width) >> 16 for d in _STEPS}
        for d, e in sorted(((d, e) for d in _STEPS for e in _STEPS), key=lambda pair: abs(pair[0]) + abs(pair[1])):
            value = rows[d][:, None] + columns[e][None, :]
            least, most = int((floors - value).max()), int((ceilings - value).min())
            if least > most:
                continue
            c = (least + most) // 2 if least > -_FAR // 2 and most < _FAR // 2 else max(least, -(1 << 30))
            total = value + c
            if max(abs(c), int(np.abs(total).max())) >= 1 << 31:
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


class WeightedSum:
    """ADD and SUB of inputs that run along together; outer axes may be broadcast, by eights."""

    name = "weighted sum"
    computes = Binary

    def plans(self, layer: Binary) -> tuple[Plan, ...]:
        runs = runs_of(layer)
        if not layer.kind.is_sum or layer.table or runs is None:
            return ()
        if (by_words := _word_factors(layer)) is not None:
            return (_word_plan(layer, runs, by_words),)
        factors = factors_of(layer)
        if factors is None:
            return ()
        output = _output(layer, factors)
        spread = _CYCLES.spread_fine if factors.fine else _CYCLES.spread
        turn = _CYCLES.loaded + spread + 8 * (_CYCLES.products + output.cycles) + _CYCLES.turn
        parameters = loads(3 if runs.eights else 0, 4).times(runs.count)
        code = 4 * (12 + 8 * (2 + output.cycles) + (12 if factors.fine else 8) + 8)
        return (
            pairs_plan(
                self.name,
                layer,
                runs,
                _kernel(factors, output),
                cycles=PairCycles(_CYCLES.kernel, _CYCLES.layer, turn, _CYCLES.each),
                code=code,
                stack=76,
                data=12,
                parameters=parameters,
                arguments=1,
            ),
        )

    def emit(self, layer: Binary, plan: Plan, name: str) -> Emitted:
        by_words, runs = _word_factors(layer), runs_of(layer)
        factors = by_words or factors_of(layer)
        assert factors is not None
        assert runs is not None
        kernel = _word_kernel(_words_a_turn(runs)) if by_words else _kernel(factors, _output(layer, factors))
        words = np.array(factors[:3]) + ([0, 0, _OFFSET] if by_words else 0)
        arrays = [Array("int32_t", f"{name}_factors", words, "a, b, c")]
        assert data_bytes(arrays) == plan.data_bytes
        shapes = f"{dimensions(layer.first_shape)} and {dimensions(layer.second_shape)}"
        title = f"{layer.kind.upper()} of {shapes}"
        kernels = (kernel,) if runs.eights else ()
        return emitted(
            binary(name),
            plan,
            title,
            "kernels/sums/sum_layer.c.j2",
            arrays=arrays if runs.eights else [],
            kernels=kernels,
            layer=layer,
            kernel=kernel.name,
            runs=runs,
            fine=factors.fine,
            factors=factors[:3],
            shift=factors.shift,
        )


#: What the constant has more where outputs saturate as 0 to 255.
_OFFSET = -INT8_MIN << _UPPER


def _words_a_turn(runs: Runs) -> int:
    return next(words for words in (8, 4, 2) if runs.eights % (words // 2) == 0)


def _word_kernel(words: int) -> Rendered:
    """The kernel of so many words, two, four or eight, in a turn."""
    values = (("words", words), ("halvings", words.bit_length() - 2))
    return Rendered(f"sum_words_by_{4 * words}", "kernels/sums/sum_words.c.j2", values)


def _word_plan(layer: Binary, runs: Runs, factors: SumFactors) -> Plan:
    words = _words_a_turn(runs)
    cycles = _WORD_CYCLES
    turn, code = cycles.word * words + cycles.turn, 4 * (10 + 21 * words)
    whole = runs.count * runs.eights
    return pairs_plan(
        WeightedSum.name,
        layer,
        runs,
        _word_kernel(words),
        cycles=PairCycles(cycles.kernel, cycles.layer, 2 * turn / words, cycles.each),
        code=code,
        stack=76,
        data=12,
        parameters=loads(3 if runs.eights else 0, 4).times(runs.count),
        arguments=1,
        output=stores(2 * whole, 4) + stores(runs.rest, 1),
        eights=words // 2,
    )


def _output(layer: Binary, factors: SumFactors) -> Output:
    return Output(
        factors.shift,
        False,
        layer.minimum if factors.clamp_low else None,
        layer.maximum if factors.clamp_high else None,
    )


def _kernel(factors: SumFactors, output: Output) -> Rendered:
    name = f"weighted_sum_{output.slug}{'_fine' if factors.fine else ''}"
    return Rendered(name, "kernels/sums/sum.c.j2", (("fine", factors.fine), ("q_", output)))


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
