"""Two inputs, element by element: any operator in the reference's arithmetic."""

import numpy as np

from memaopt.access import loads, stores
from memaopt.kernels import around
from memaopt.kernels.around import Compiled
from memaopt.kernels.code import TableLoads
from memaopt.kernels.emitted import Emitted, binary, emitted
from memaopt.kernels.family import dimensions
from memaopt.kernels.plain import ARITHMETIC
from memaopt.kernels.plan import Plan, Promise
from memaopt.kernels.text.c import LINE, Array
from memaopt.problems.binary import Binary, BinaryKind
from memaopt.problems.selection import Selection

#: What GCC 12.2 makes of the C at -O3 for an element: a product, a sum (150 to 176 bytes: as it waits for them where
#: nothing is cached, by the median of 10 layers), an extreme, PRELU.
_PRODUCT, _SUM, _EXTREME, _SLOPE = Compiled(82, 31), Compiled(172, 57), Compiled(28, 12), Compiled(150, 37)
#: Likewise a comparison, a quotient and a choice.
_COMPARISON, _QUOTIENT, _CHOICE = Compiled(160, 41), Compiled(460, 181), Compiled(40, 14)
#: Bytes of its code at most, twice as many for each loop of two turns, which GCC writes out
#: (`tests/kernels/test_frames.py`).
_CODE, _QUOTIENT_CODE = 400, 640


class GenericBinary:
    """Any two inputs with any broadcasting and any scales, in the reference's own arithmetic."""

    name = "generic"
    computes = Binary

    def plans(self, layer: Binary) -> tuple[Plan, ...]:
        n = layer.elements
        same, element = layer.first_shape == layer.output_shape, _element(layer.kind)
        table = (TableLoads(len(layer.table), n),) if layer.table else ()
        return (
            Plan(
                family=self.name,
                tile="",
                cycles=round(element.cycles * n),
                promise=Promise((loads(n, 1), loads(n, 1)), stores(n, 1), loads(n if layer.table else 0, 1)),
                data_bytes=len(layer.table),
                code_bytes=most_code(layer),
                code=(around.each(n, element), *table),
                in_place=same,
                requantization=ARITHMETIC,
            ),
        )

    def emit(self, layer: Binary, plan: Plan, name: str) -> Emitted:
        return emitted_pairs(layer, plan, name)


def most_code(layer: Binary) -> int:
    """Bytes of that code at most."""
    twice = merged(layer.output_shape, layer.first_shape, layer.second_shape)[0].count(2)
    return (_QUOTIENT_CODE if layer.kind is BinaryKind.DIV else _CODE) << twice


def emitted_pairs(layer: Binary, plan: Plan, name: str, bits: int = 8) -> Emitted:
    """The text of any two inputs, of so many bits an element."""
    shape, (first, second) = merged(layer.output_shape, layer.first_shape, layer.second_shape)
    title = f"{layer.kind.upper()} {dimensions(layer.first_shape)}, {dimensions(layer.second_shape)}"
    values, comment = np.array(layer.table), "output of each result, from -128 up"
    table = [Array("int8_t", f"{name}_table", values, comment, alignment=LINE)]
    return emitted(
        binary(name, bits),
        plan,
        f"{title} -> {dimensions(layer.output_shape)}",
        "kernels/elementwise/generic_binary.c.j2",
        arrays=table if layer.table else [],
        layer=layer,
        shape=shape,
        first_index=index_text(first),
        second_index=index_text(second),
        bits=bits,
    )


class GenericSelect:
    """A byte of either, by a third, with any broadcasting."""

    name = "generic"
    computes = Selection

    def plans(self, layer: Selection) -> tuple[Plan, ...]:
        n = layer.elements
        return (
            Plan(
                family=self.name,
                tile="",
                cycles=round(_CHOICE.cycles * n),
                promise=Promise((loads(n, 1),) * 3, stores(n, 1)),
                data_bytes=0,
                code_bytes=240,
                code=(around.each(n, _CHOICE),),
                in_place=layer.condition_shape == layer.output_shape,
            ),
        )

    def emit(self, layer: Selection, plan: Plan, name: str) -> Emitted:
        shape, strides = merged(layer.output_shape, *layer.shapes)
        condition, first, second = (index_text(each) for each in strides)
        sizes = ", ".join(dimensions(each) for each in layer.shapes)
        return emitted(
            f"void {name}(const int8_t *condition, const int8_t *first, const int8_t *second, int8_t *out, "
            "void *scratch)",
            plan,
            f"SELECT {sizes} -> {dimensions(layer.output_shape)}",
            "kernels/elementwise/select.c.j2",
            layer=layer,
            shape=shape,
            condition_index=condition,
            first_index=first,
            second_index=second,
        )


def _element(kind: BinaryKind) -> Compiled:
    if kind.is_extreme:
        return _EXTREME
    if kind.comparison:
        return _COMPARISON
    return {BinaryKind.MUL: _PRODUCT, BinaryKind.PRELU: _SLOPE, BinaryKind.DIV: _QUOTIENT}.get(kind, _SUM)


def strides_of(shape: tuple[int, ...], rank: int) -> list[int]:
    """Element strides of a shape broadcast to ``rank`` dimensions: 0 where it is repeated."""
    padded = (1,) * (rank - len(shape)) + shape
    strides, step = [], 1
    for size in reversed(padded):
        strides.append(0 if size == 1 else step)
        step *= size
    return strides[::-1]


def merged(shape: tuple[int, ...], *inputs: tuple[int, ...]) -> tuple[list[int], list[list[int]]]:
    """Sizes, and each input's strides, with neighbouring dimensions joined where all inputs run through them."""
    strides = [strides_of(x, len(shape)) for x in inputs]
    axes: list[tuple[int, tuple[int, ...]]] = []
    for size, *steps in zip(shape, *strides, strict=True):
        if size == 1:
            continue
        if axes and axes[-1][1] == tuple(step * size for step in steps):
            axes[-1] = (axes[-1][0] * size, tuple(steps))
        else:
            axes.append((size, tuple(steps)))
    axes = axes or [(1, (0,) * len(inputs))]
    return [size for size, _ in axes], [list(each) for each in zip(*(steps for _, steps in axes), strict=True)]


def index_text(strides: list[int]) -> str:
    terms = [f"i{d}" if s == 1 else f"i{d} * {s}" for d, s in enumerate(strides) if s]
    return " + ".join(terms) or "0"


FAMILIES = (GenericBinary(), GenericSelect())
