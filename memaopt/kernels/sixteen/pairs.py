"""ADD, SUB, MUL and MEAN of int16 activations, element by element, in the text of those of int8.

Cycles are those of GCC 12.2 at -O3, fitted to counts of 19 layers on the virtual board: all but means of two elements
within a quarter.
"""

from memaopt.access import loads, stores
from memaopt.kernels import around
from memaopt.kernels.around import Compiled, piece
from memaopt.kernels.code import Loop, Node
from memaopt.kernels.elementwise.pairs import emitted_pairs, most_code
from memaopt.kernels.emitted import Emitted
from memaopt.kernels.executed import cycles_of
from memaopt.kernels.plain import ARITHMETIC
from memaopt.kernels.plan import Plan, Promise
from memaopt.kernels.pooling.reductions import emitted_reduction
from memaopt.problems.binary import BinaryKind
from memaopt.problems.sixteen import Binary16, Mean16

#: Of a product and a sum of two elements.
_PRODUCT, _SUM = Compiled(112, 24), Compiled(224, 49)
#: Of an element that is added, and of an output, in one loop and in several.
_ADDED, _MEAN = (Compiled(24, 7), Compiled(24, 7)), (Compiled(160, 24), Compiled(160, 42))
#: Bytes of its code at most (`tests/kernels/test_frames.py`).
_MEAN_CODE = 320


def _plan(code: tuple[Node, ...], promise: Promise, code_bytes: int, *, in_place: bool = False) -> Plan:
    return Plan(
        family="generic 16x8",
        tile="",
        cycles=round(cycles_of(code)),
        promise=promise,
        data_bytes=0,
        code_bytes=code_bytes,
        code=code,
        alignment=2,
        words=False,
        in_place=in_place,
        requantization=ARITHMETIC,
    )


class GenericBinary16:
    """Any broadcasting and any scales."""

    name = "generic 16x8"
    computes = Binary16

    def plans(self, layer: Binary16) -> tuple[Plan, ...]:
        n, pairs = layer.elements, layer.pairs
        code = (around.each(n, _PRODUCT if pairs.kind is BinaryKind.MUL else _SUM),)
        promise = Promise((loads(n, 2), loads(n, 2)), stores(n, 2))
        return (_plan(code, promise, most_code(pairs), in_place=pairs.first_shape == pairs.output_shape),)

    def emit(self, layer: Binary16, plan: Plan, name: str) -> Emitted:
        return emitted_pairs(layer.pairs, plan, name, 16)


class GenericMean16:
    """Any axes."""

    name = "generic 16x8"
    computes = Mean16

    def plans(self, layer: Mean16) -> tuple[Plan, ...]:
        outputs, several = layer.elements // layer.count, len(layer.axes) > 1
        code = (Loop((Loop((piece(_ADDED[several]),), layer.count), piece(_MEAN[several])), outputs),)
        return (_plan(code, Promise((loads(layer.elements, 2),), stores(outputs, 2)), _MEAN_CODE),)

    def emit(self, layer: Mean16, plan: Plan, name: str) -> Emitted:
        result = f"clamp(rescale(acc, {layer.result.multiplier}, {layer.result.shift}), INT16_MIN, INT16_MAX)"
        return emitted_reduction(layer, plan, name, "MEAN of int16", 16, start=0, compare="", result=result)


FAMILIES = (GenericBinary16(), GenericMean16())
