"""PRELU and SQUARED_DIFFERENCE in C, each rounded by one multiplication that is proven for every accumulator.

A difference is of two tables: what each byte of an input comes to, rescaled.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from memaopt.access import Access, loads, stores
from memaopt.fixedpoint import Int64Array
from memaopt.kernels import around
from memaopt.kernels.around import Compiled
from memaopt.kernels.code import TableLoads
from memaopt.kernels.elementwise.pairs import index_text, merged
from memaopt.kernels.emitted import Emitted, binary, emitted
from memaopt.kernels.family import data_bytes, dimensions
from memaopt.kernels.plan import Plan, Promise
from memaopt.kernels.rounding import requantize
from memaopt.kernels.rounding.output import Output
from memaopt.kernels.text.c import Array
from memaopt.problems.binary import Binary, BinaryKind
from memaopt.problems.step_functions import INT8_MAX, INT8_MIN, AccumulatorRange, Requantization, Rescale

#: What GCC 12.2 makes of an element at -O3.
_SLOPE, _SQUARE = Compiled(80, 25), Compiled(70, 27)
#: Bytes of its code at most, twice as many for each loop of two turns (`tests/kernels/test_frames.py`).
_CODE = 400
_FACTORS = tuple(1 << shift for shift in range(8, -1, -1))
_BYTES = np.arange(INT8_MIN, INT8_MAX + 1, dtype=np.int64)


class FixedRounding(NamedTuple):
    """clamp(H((scale acc + start) multiplier) + addend (+ negative below 0)) >> shift, as the template sees it."""

    scale: int
    start: int
    multiplier: int
    addend: int
    negative: int
    shift: int
    low: int
    high: int


class _Proof(NamedTuple):
    """How a layer is rounded: what is multiplied, and of PRELU what is not; the tables of a difference."""

    result: FixedRounding
    straight: FixedRounding | None
    first: Int64Array | None
    second: Int64Array | None
    told: str


class ProvenPairs:
    """Any broadcasting."""

    name = "proven"
    computes = Binary

    def plans(self, layer: Binary) -> tuple[Plan, ...]:
        proof = _proof(layer)
        if proof is None:
            return ()
        n, squares = layer.elements, proof.first is not None
        twice = merged(layer.output_shape, layer.first_shape, layer.second_shape)[0].count(2)
        element = _SQUARE if squares else _SLOPE
        constants = data_bytes(_arrays(proof, ""))
        table = (TableLoads(constants, 2 * n),) if squares else ()
        return (
            Plan(
                family=self.name,
                tile="",
                cycles=round(element.cycles * n),
                promise=Promise((loads(n, 1), loads(n, 1)), stores(n, 1), loads(2 * n, 2) if squares else Access()),
                data_bytes=constants,
                code_bytes=_CODE << twice,
                code=(around.each(n, element), *table),
                words=False,
                in_place=layer.first_shape == layer.output_shape,
                requantization=proof.told,
            ),
        )

    def emit(self, layer: Binary, plan: Plan, name: str) -> Emitted:
        proof = _proof(layer)
        assert proof is not None
        shape, (first, second) = merged(layer.output_shape, layer.first_shape, layer.second_shape)
        arrays = _arrays(proof, name)
        return emitted(
            binary(name),
            plan,
            f"{layer.kind.upper()} {dimensions(layer.first_shape)}, {dimensions(layer.second_shape)}",
            "kernels/elementwise/proven.c.j2",
            arrays=arrays,
            layer=layer,
            shape=shape,
            first_index=index_text(first),
            second_index=index_text(second),
            second_table="second" if len(arrays) > 1 else "first",
            result=proof.result,
            straight=proof.straight,
        )


def _arrays(proof: _Proof, name: str) -> list[Array]:
    """The tables of a difference; one where both are the same."""
    if proof.first is None or proof.second is None:
        return []
    first, second = (np.roll(each, 128) for each in (proof.first, proof.second))
    made = [Array("int16_t", f"{name}_first", first, "of each byte, from 0 to -1, what it comes to")]
    if not np.array_equal(first, second):
        made.append(Array("int16_t", f"{name}_second", second, "likewise, of the second input"))
    return made


@lru_cache(maxsize=64)
def _proof(layer: Binary) -> _Proof | None:
    """The proof of a layer; None for other kinds, or if there is none."""
    if layer.table:
        return None
    x, y = _BYTES - layer.first_zero_point, _BYTES - layer.second_zero_point
    if layer.kind is BinaryKind.PRELU:
        products = np.multiply.outer(x[x < 0], y) if (x < 0).any() else np.zeros(1, np.int64)
        result = fixed_rounding(layer, layer.result, products)
        straight = fixed_rounding(layer, layer.first, np.maximum(x, 0))
        if result is None or straight is None:
            return None
        return _Proof(result[0], straight[0], None, None, f"{result[1]}; {straight[1]}")
    if layer.kind is not BinaryKind.SQUARED_DIFFERENCE:
        return None
    first, second = layer.first.apply(x << layer.left_shift), layer.second.apply(y << layer.left_shift)
    if max(np.abs(first).max(), np.abs(second).max()) >= 1 << 15:
        return None
    farthest = max(first.max() - second.min(), second.max() - first.min())
    result = fixed_rounding(layer, layer.result, np.array([0, farthest * farthest]))
    return None if result is None else _Proof(result[0], None, first, second, result[1])


def fixed_rounding(
    layer: Binary, rescale: Rescale, accumulators: Int64Array, factors: Sequence[int] = _FACTORS
) -> tuple[FixedRounding, str] | None:
    """How accumulators between the least and the greatest are rounded, times one of the ``factors``, and why; None
    without a proof."""
    low, high = min(int(accumulators.min()), 0), max(int(accumulators.max()), 0)
    multiplier, shift = rescale
    wanted = Requantization(
        layer.zero_point,
        layer.minimum,
        layer.maximum,
        multipliers=np.array([multiplier]),
        shifts=np.array([shift]),
    )
    for factor in factors:
        if max(-low, high) * factor >= 1 << 31:
            continue
        found = requantize.prove_multiply_add(wanted, AccumulatorRange(np.array([low]), np.array([high])), factor)
        if found is not None and not found.constant.any():
            stage = Output.of(found, wanted)
            start, multiplier, addend = (int(each[0]) for each in (found.start, found.multiplier, found.addend))
            negative = 0 if found.negative is None else int(found.negative[0])
            numbers = FixedRounding(factor, start, multiplier, addend, negative, found.shift, stage.low, stage.high)
            return numbers, found.describe()
    return None


FAMILIES = (ProvenPairs(),)
