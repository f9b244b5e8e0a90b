"""Kernels that take each element by itself: sums, products, extremes, tables, and float32 at the network's ends."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from memaopt.access import Access, loads, stores
from memaopt.kernels import around
from memaopt.kernels.around import Compiled, piece
from memaopt.kernels.code import Call, Loop, Node, Rendered, TableLoads
from memaopt.kernels.emitted import Emitted, binary, emitted, unary
from memaopt.kernels.executed import body_of, cycles_of, words
from memaopt.kernels.family import dimensions
from memaopt.kernels.plan import Plan, Promise, saved
from memaopt.kernels.text.c import LINE, Array, short_name
from memaopt.problems.binary import Binary, BinaryKind
from memaopt.problems.layers import Dequantize, FloatLookup, Layer, Lookup, Quantize

#: What GCC 12.2 makes of the C at -O3 for an element: a product, a sum, an extreme, PRELU, a lookup, one that the
#: assembly leaves over, of floats, DEQUANTIZE; and cycles of a layer's entry and exit.
_PRODUCT, _SUM, _LOOKUP, _LOOKUP_REST = Compiled(112, 31), Compiled(224, 57), Compiled(24, 11), Compiled(16, 8)
_EXTREME, _SLOPE, _DEQUANTIZE = Compiled(28, 12), Compiled(150, 37), Compiled(28, 15)
_FLOAT_LOOKUP = Compiled(24, 12)
#: QUANTIZE: what comes before the division, that, and what comes behind.
_QUANTIZE = (Compiled(80, 26), Compiled(8, 17), Compiled(22, 7))
_CALLED = 10


class _WordCycles(NamedTuple):
    """Of looking up sixteen elements a turn, instruction by instruction (docs/timing.md)."""

    call: int = 27  # eight registers pushed and popped, and a layer's entry and exit
    eight: int = 3 + 8 + 9 + 6 + 3  # two words, taken apart, looked up, put together, stored
    turn: int = 3  # counted, and back
    rest: int = 20  # the loop over elements left over, fitted to counts of layers (GCC 12.2 -O3)
    each: int = 9


_WORDS = _WordCycles()


class GenericBinary:
    """Any two inputs with any broadcasting and any scales, in the reference's own arithmetic."""

    name = "generic"
    computes = Binary

    def plans(self, layer: Layer) -> tuple[Plan, ...]:
        assert isinstance(layer, Binary)
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
                code_bytes=400,
                code=(each(n, element), *table),
                in_place=same,
                requantization="the reference's own arithmetic",
            ),
        )

    def emit(self, layer: Layer, plan: Plan, name: str) -> Emitted:
        assert isinstance(layer, Binary)
        shape, first, second = _merged(layer.output_shape, layer.first_shape, layer.second_shape)
        title = f"{layer.kind.upper()} {dimensions(layer.first_shape)}, {dimensions(layer.second_shape)}"
        values, comment = np.array(layer.table), "output of each result, from -128 up"
        table = [Array("int8_t", f"{name}_table", values, comment, alignment=LINE)]
        table = table if layer.table else []
        return emitted(
            binary(name),
            plan,
            f"{title} -> {dimensions(layer.output_shape)}",
            "kernels/elementwise/generic_binary.c.j2",
            arrays=table,
            layer=layer,
            shape=shape,
            first_index=_index(first),
            second_index=_index(second),
        )


def _element(kind: BinaryKind) -> Compiled:
    if kind.is_extreme:
        return _EXTREME
    return {BinaryKind.MUL: _PRODUCT, BinaryKind.PRELU: _SLOPE}.get(kind, _SUM)


def each(count: float, *element: Compiled) -> Loop:
    """A compiled loop over elements, of one stretch or of several."""
    return Loop(tuple(map(piece, element)), count)


def _strides(shape: tuple[int, ...], rank: int) -> list[int]:
    """Element strides of a shape broadcast to ``rank`` dimensions: 0 where it is repeated."""
    padded = (1,) * (rank - len(shape)) + shape
    strides, step = [], 1
    for size in reversed(padded):
        strides.append(0 if size == 1 else step)
        step *= size
    return strides[::-1]


def _merged(shape: tuple[int, ...], *inputs: tuple[int, ...]) -> tuple[list[int], list[int], list[int]]:
    """Sizes and strides with neighbouring dimensions joined where both inputs run through them."""
    first, second = (_strides(x, len(shape)) for x in inputs)
    axes: list[tuple[int, int, int]] = []
    for size, a, b in zip(shape, first, second, strict=True):
        if size == 1:
            continue
        if axes and axes[-1][1] == a * size and axes[-1][2] == b * size:
            axes[-1] = (axes[-1][0] * size, a, b)
        else:
            axes.append((size, a, b))
    axes = axes or [(1, 0, 0)]
    return [x[0] for x in axes], [x[1] for x in axes], [x[2] for x in axes]


def _index(strides: list[int]) -> str:
    terms = [f"i{d}" if s == 1 else f"i{d} * {s}" for d, s in enumerate(strides) if s]
    return " + ".join(terms) or "0"


class PairCycles(NamedTuple):
    """Of a kernel over two inputs: a call with entry and exit, a turn of eight elements (both instruction by
    instruction, docs/timing.md), and one of the rest in C as GCC 12.2 makes it at -O3.
    """

    call: int
    turn: int
    each: int


#: Cycles of loops around calls of such a kernel, and what a call in them takes less: as counted.
_LOOPS, _WITHIN = 20, 8


@dataclass(frozen=True)
class Runs:
    """How two broadcast inputs run along together: ``count`` times ``eights`` times 8 elements, and ``rest`` more.

    ``first``, ``second`` and ``out`` are the C texts of the pointers in loops over the axes ``shape``.
    """

    shape: tuple[int, ...]
    first: str
    second: str
    out: str
    eights: int
    rest: int

    @property
    def count(self) -> int:
        return math.prod(self.shape)

    @property
    def code_bytes(self) -> int:
        """An estimate of the code around the kernel."""
        return 40 + 24 * len(self.shape) + (80 if self.rest else 0)

    def cycles(self, of: PairCycles) -> int:
        """Of the layer."""
        loops = _LOOPS - _WITHIN * self.count if self.shape else 0
        return loops + self.count * (of.call + of.turn * self.eights) + of.each * self.rest


def runs_of(layer: Binary) -> Runs | None:
    """The runs of ADD, SUB and MUL; None unless both inputs run along the innermost axes, all of them or by eights."""
    shape, first, second = _merged(layer.output_shape, layer.first_shape, layer.second_shape)
    if (first[-1], second[-1]) != (1, 1):
        return None
    eights, rest = divmod(shape[-1], 8)
    outer = shape[:-1]
    if outer and rest:
        return None
    steps = _strides(tuple(shape), len(shape))
    first_at, second_at, out_at = (
        name if _index(strides[:-1]) == "0" else f"{name} + {_index(strides[:-1])}"
        for name, strides in (("first", first), ("second", second), ("out", steps))
    )
    return Runs(tuple(outer), first_at, second_at, out_at, eights, rest)


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
) -> Plan:
    """The plan of a kernel over ``runs`` that was proven for all pairs of inputs: ``code`` bytes, ``stack`` bytes,
    ``data`` bytes of constants, of them ``table`` read here and there; ``arguments`` of a call of the kernel lie on the
    stack; ``output`` by bytes if not given."""
    nodes: list[Node] = [*around.entry()]
    if runs.eights:
        nodes.append(Loop((around.piece(around.CALL), Call(kernel, (runs.eights,))), runs.count))
    if runs.rest:
        nodes.append(each(runs.rest, Compiled(40, cycles.each)))
    if table:
        nodes.append(TableLoads(table, layer.elements))
    on_stack = (saved(9) + loads(arguments, 4)).times(runs.count) if runs.eights else Access()
    read = loads(2 * runs.eights, 4).times(runs.count) + loads(runs.rest, 1)
    return Plan(
        family=family,
        tile="8",
        cycles=runs.cycles(cycles),
        promise=Promise(
            (read, read), stores(layer.elements, 1) if output is None else output, parameters, stack=on_stack
        ),
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


class TableLookup:
    """Any unary int8 operator: 256 outputs, computed offline."""

    name = "lookup"
    computes = Lookup

    def plans(self, layer: Layer) -> tuple[Plan, ...]:
        assert isinstance(layer, Lookup)
        n = layer.elements
        promise = Promise((loads(n, 1),), stores(n, 1), loads(n, 1))
        cycles = round(_LOOKUP.cycles * n) + _CALLED
        code = (each(n, _LOOKUP), TableLoads(256, n))
        return (Plan(self.name, "", cycles, promise, data_bytes=256, code_bytes=40, code=code, in_place=True),)

    def emit(self, layer: Layer, plan: Plan, name: str) -> Emitted:
        assert isinstance(layer, Lookup)
        table = [Array("int8_t", f"{name}_table", layer.table, "output of each input, from -128 up", alignment=LINE)]
        return emitted(
            unary(name),
            plan,
            f"a table of 256 outputs, {layer.elements} elements",
            "kernels/elementwise/lookup.c.j2",
            arrays=table,
            layer=layer,
        )


class WordLookup:
    """The same, a word of four elements at a time."""

    name = "lookup words"
    computes = Lookup
    _per_turn = 16
    _kernel = Rendered("lookup_words", "kernels/elementwise/lookup_words.c.j2", (("unroll", _per_turn // 8),))

    def plans(self, layer: Layer) -> tuple[Plan, ...]:
        assert isinstance(layer, Lookup)
        turns, rest = divmod(layer.elements, self._per_turn)
        if not turns:
            return ()
        words = turns * self._per_turn // 4
        code = 4 * (5 + 24 * self._per_turn // 8)
        turn = self._per_turn // 8 * _WORDS.eight + _WORDS.turn
        cycles = _WORDS.call + turn * turns + (_WORDS.rest + _WORDS.each * rest if rest else 0)
        return (
            Plan(
                family=self.name,
                tile=str(self._per_turn),
                cycles=cycles,
                promise=Promise(
                    (loads(words, 4) + loads(rest, 1),),
                    stores(words, 4) + stores(rest, 1),
                    loads(layer.elements, 1),
                    stack=saved(8),
                ),
                data_bytes=256,
                code_bytes=code + (60 if rest else 20),
                stack_bytes=32,
                kernels=(self._kernel.name,),
                shared_bytes=code,
                code=(
                    *around.entry(),
                    Call(self._kernel, (turns,)),
                    each(rest, _LOOKUP_REST),
                    TableLoads(256, layer.elements),
                ),
                in_place=True,
                alignment=4,
            ),
        )

    def emit(self, layer: Layer, plan: Plan, name: str) -> Emitted:
        assert isinstance(layer, Lookup)
        turns, rest = divmod(layer.elements, self._per_turn)
        by_byte = np.roll(layer.table, 128)
        comment = "output of each input: 0 to 127, then -128 to -1"
        table = [Array("int8_t", f"{name}_table", by_byte, comment, alignment=LINE)]
        return emitted(
            unary(name),
            plan,
            f"a table of 256 outputs, {layer.elements} elements",
            "kernels/elementwise/lookup_words_layer.c.j2",
            arrays=table,
            kernels=(self._kernel,),
            layer=layer,
            kernel=self._kernel.name,
            turns=turns,
            rest=rest,
        )


class FloatTable:
    """256 floats, computed offline."""

    name = "lookup floats"
    computes = FloatLookup

    def plans(self, layer: Layer) -> tuple[Plan, ...]:
        assert isinstance(layer, FloatLookup)
        n = layer.elements
        promise = Promise((loads(n, 1),), stores(n, 4), loads(n, 4))
        code, lead = (each(n, _FLOAT_LOOKUP), TableLoads(1024, n)), 3 * (n - 1)
        cycles = round(_FLOAT_LOOKUP.cycles * n) + _CALLED
        return (Plan(self.name, "", cycles, promise, 1024, 40, code=code, lead=lead, alignment=4),)

    def emit(self, layer: Layer, plan: Plan, name: str) -> Emitted:
        assert isinstance(layer, FloatLookup)
        table = [Array("float", f"{name}_table", layer.table, "output of each input, from -128 up", alignment=LINE)]
        return emitted(
            f"void {name}(const int8_t *in, float *out, void *scratch)",
            plan,
            f"a table of 256 floats, {layer.elements} elements",
            "kernels/elementwise/float_lookup.c.j2",
            arrays=table,
            layer=layer,
        )


class FloatToInt8:
    """QUANTIZE of float32."""

    name = "quantize"
    computes = Quantize

    def plans(self, layer: Layer) -> tuple[Plan, ...]:
        assert isinstance(layer, Quantize)
        n = layer.elements
        promise = Promise((loads(n, 4),), stores(n, 1))
        code = (each(n, *_QUANTIZE),)
        cycles = round(cycles_of(code))
        return (Plan(self.name, "", cycles, promise, data_bytes=0, code_bytes=120, code=code, lead=-3),)

    def emit(self, layer: Layer, plan: Plan, name: str) -> Emitted:
        assert isinstance(layer, Quantize)
        return emitted(
            f"void {name}(const float *in, int8_t *out, void *scratch)",
            plan,
            f"QUANTIZE float32 -> int8, {layer.elements} elements",
            "kernels/elementwise/quantize.c.j2",
            layer=layer,
            scale=float_text(layer.scale),
        )


class Int8ToFloat:
    """DEQUANTIZE. The float product rounds as TFLite's double one does, for it is exact in double."""

    name = "dequantize"
    computes = Dequantize

    def plans(self, layer: Layer) -> tuple[Plan, ...]:
        assert isinstance(layer, Dequantize)
        n = layer.elements
        promise = Promise((loads(n, 1),), stores(n, 4))
        cycles, code, lead = round(_DEQUANTIZE.cycles * n), (each(n, _DEQUANTIZE),), 3 * (n - 1)
        return (Plan(self.name, "", cycles, promise, data_bytes=0, code_bytes=60, code=code, lead=lead),)

    def emit(self, layer: Layer, plan: Plan, name: str) -> Emitted:
        assert isinstance(layer, Dequantize)
        return emitted(
            f"void {name}(const int8_t *in, float *out, void *scratch)",
            plan,
            f"DEQUANTIZE int8 -> float32, {layer.elements} elements",
            "kernels/elementwise/dequantize.c.j2",
            layer=layer,
            scale=float_text(layer.scale),
        )


class WordToFloat:
    """The same, a word of four elements at a time."""

    name = "dequantize words"
    computes = Dequantize

    def plans(self, layer: Layer) -> tuple[Plan, ...]:
        assert isinstance(layer, Dequantize)
        n = layer.elements
        turns, rest = divmod(n, 4)
        if not turns:
            return ()
        kernel = _to_float(layer)
        code = (piece(around.CALL), Call(kernel, (turns,)), each(rest, _DEQUANTIZE))
        size = 4 * words(body_of(Call(kernel, (turns,))))
        return (
            Plan(
                family=self.name,
                tile="4",
                cycles=round(cycles_of(code)),
                promise=Promise((loads(turns, 4) + loads(rest, 1),), stores(n, 4)),
                data_bytes=0,
                code_bytes=size + (60 if rest else 20),
                kernels=(kernel.name,),
                shared_bytes=size,
                code=code,
                # A turn writes four times what it reads, before the next one reads.
                lead=max(12 * (turns - 1), 3 * (n - 1) if rest else 0),
                alignment=4,
            ),
        )

    def emit(self, layer: Layer, plan: Plan, name: str) -> Emitted:
        assert isinstance(layer, Dequantize)
        turns, rest = divmod(layer.elements, 4)
        kernel = _to_float(layer)
        return emitted(
            f"void {name}(const int8_t *in, float *out, void *scratch)",
            plan,
            f"DEQUANTIZE int8 -> float32, {layer.elements} elements",
            "kernels/elementwise/dequantize_words_layer.c.j2",
            kernels=(kernel,),
            layer=layer,
            kernel=kernel.name,
            scale=float_text(layer.scale),
            turns=turns,
            rest=rest,
        )


def _to_float(layer: Dequantize) -> Rendered:
    """The kernel with its scale and zero point."""
    scale = float_text(layer.scale)
    values = (
        ("scale", scale),
        ("bits", int(np.float32(layer.scale).view(np.uint32))),
        ("zero_point", layer.zero_point),
    )
    name = short_name("dequantize_words", f"scale {scale}, zero point {layer.zero_point}")
    return Rendered(name, "kernels/elementwise/dequantize_words.c.j2", values)


def float_text(value: float) -> str:
    """The shortest decimal of the nearest float, with a point or an exponent."""
    text = str(np.float32(value))
    return text if "." in text or "e" in text else text + ".0"


FAMILIES = (GenericBinary(), TableLookup(), WordLookup(), FloatTable(), FloatToInt8(), Int8ToFloat(), WordToFloat())
