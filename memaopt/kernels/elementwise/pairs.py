"""Two inputs, element by element: any operator in the reference's arithmetic, and the frame of kernels over runs."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from memaopt.access import Access, loads, stores
from memaopt.kernels import around
from memaopt.kernels.around import Compiled
from memaopt.kernels.code import Call, Loop, Node, Rendered, TableLoads
from memaopt.kernels.emitted import Emitted, binary, emitted
from memaopt.kernels.family import dimensions
from memaopt.kernels.plain import ARITHMETIC
from memaopt.kernels.plan import Plan, Promise, saved
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


def _strides(shape: tuple[int, ...], rank: int) -> list[int]:
    """Element strides of a shape broadcast to ``rank`` dimensions: 0 where it is repeated."""
    padded = (1,) * (rank - len(shape)) + shape
    strides, step = [], 1
    for size in reversed(padded):
        strides.append(0 if size == 1 else step)
        step *= size
    return strides[::-1]


def merged(shape: tuple[int, ...], *inputs: tuple[int, ...]) -> tuple[list[int], list[list[int]]]:
    """Sizes, and each input's strides, with neighbouring dimensions joined where all inputs run through them."""
    strides = [_strides(x, len(shape)) for x in inputs]
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


class PairCycles(NamedTuple):
    """Of a kernel over two inputs: its entry and exit and eight elements of its turns, instruction by instruction
    (docs/timing.md); the layer around its call, and one of the up to seven elements left over, in C as GCC 12.2 makes
    it at -O3.

    Of the C these are estimates. Layers of ADD and MUL of 8 to 64 elements take 4 to 6 cycles less than predicted;
    elements left over were counted at 9 each where a sum is clamped, else at 26 to 32.
    """

    kernel: int
    layer: int
    turn: float
    each: int

    @property
    def call(self) -> int:
        """A call, with a layer's entry and exit."""
        return self.kernel + self.layer


#: Cycles of loops around calls of such a kernel, and what a call in them takes less: as counted.
_LOOPS, _WITHIN = 20, 8
#: What one element besides takes that fills a run, and each word of it.
_SPREAD, _FILLED = Compiled(40, 27), 2
#: Eights from which on such a run is worth a call.
_WORTH = 2


@dataclass(frozen=True)
class Runs:
    """How two broadcast inputs run along together: ``count`` times ``eights`` times 8 elements, and ``rest`` more.

    ``first``, ``second`` and ``out`` are the C texts of the pointers in loops over the axes ``shape``. ``spread``: of
    this one (0 or 1) a run is one element, which fills scratch memory first; None if both run along.
    """

    shape: tuple[int, ...]
    first: str
    second: str
    out: str
    eights: int
    rest: int
    spread: int | None = None

    @property
    def words(self) -> int:
        """That one element fills."""
        return 0 if self.spread is None else 2 * self.eights

    @property
    def count(self) -> int:
        return math.prod(self.shape)

    @property
    def code_bytes(self) -> int:
        """An estimate of the code around the kernel."""
        return 40 + 24 * len(self.shape) + (168 if self.rest else 0) + (_SPREAD.size if self.words else 0)

    def cycles(self, of: PairCycles) -> int:
        """Of the layer."""
        loops = _LOOPS - _WITHIN * self.count if self.shape else 0
        spread = _SPREAD.cycles + _FILLED * self.words if self.words else 0
        return round(loops + self.count * (of.call + of.turn * self.eights + spread) + of.each * self.rest)


def runs_of(layer: Binary) -> Runs | None:
    """The runs of ADD, SUB and MUL; None unless both inputs run along the innermost axes, all of them or by eights, or
    one of them does and the other is there one element for each run."""
    shape, (first, second) = merged(layer.output_shape, layer.first_shape, layer.second_shape)
    eights, rest = divmod(shape[-1], 8)
    outer = shape[:-1]
    alone = (first[-1], second[-1]).index(0) if 0 in (first[-1], second[-1]) else None
    if (outer and rest) or (alone is not None and (rest or eights < _WORTH)):
        return None
    steps = _strides(tuple(shape), len(shape))
    first_at, second_at, out_at = (
        name if index_text(strides[:-1]) == "0" else f"{name} + {index_text(strides[:-1])}"
        for name, strides in (("first", first), ("second", second), ("out", steps))
    )
    return Runs(tuple(outer), first_at, second_at, out_at, eights, rest, alone)


def pairs_plan(
    family: str,
    layer: Binary,
    runs: Runs,
    kernel: Rendered,
    *,
    cycles: PairCycles,
    code: int,
    stack: int,
    data: int,
    parameters: Access,
    arguments: int,
    output: Access | None = None,
    table: int = 0,
    eights: int = 1,
) -> Plan:
    """The plan of a kernel over ``runs`` that was proven for all pairs of inputs: ``code`` bytes, ``stack`` bytes,
    ``data`` bytes of constants, of them ``table`` read here and there; ``arguments`` of a call of the kernel lie on the
    stack; ``output`` by bytes if not given; ``eights`` in a turn of its loop."""
    nodes: list[Node] = [*around.entry()]
    if runs.eights:
        spread = (around.piece(_SPREAD), around.fill_words(runs.words)) if runs.words else ()
        nodes.append(Loop((*spread, around.piece(around.CALL), Call(kernel, (runs.eights / eights,))), runs.count))
    if runs.rest:
        nodes.append(around.each(runs.rest, Compiled(40, cycles.each)))
    if table:
        nodes.append(TableLoads(table, layer.elements))
    on_stack = (saved(9) + loads(arguments, 4)).times(runs.count) if runs.eights else Access()
    read = loads(2 * runs.eights, 4).times(runs.count) + loads(runs.rest, 1)
    inputs, scratch = [read, read], Access()
    if runs.spread is not None:
        inputs[runs.spread] = loads(runs.count, 1)
        scratch = stores(runs.words, 4).times(runs.count) + read
    return Plan(
        family=family,
        tile=str(8 * eights),
        cycles=runs.cycles(cycles),
        promise=Promise(
            tuple(inputs), stores(layer.elements, 1) if output is None else output, parameters, scratch, on_stack
        ),
        scratch_bytes=4 * runs.words,
        data_bytes=data,
        code_bytes=code + runs.code_bytes,
        stack_bytes=stack,
        kernels=(kernel.name,),
        shared_bytes=code,
        code=tuple(nodes),
        in_place=layer.first_shape == layer.output_shape,
        alignment=4,
        requantization="proven for all 65,536 pairs of inputs",
    )


FAMILIES = (GenericBinary(), GenericSelect())
