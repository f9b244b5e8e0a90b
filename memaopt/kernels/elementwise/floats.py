"""float32 at the network's ends: QUANTIZE, DEQUANTIZE, and floats that an int8 decides."""

from dataclasses import dataclass

import numpy as np

from memaopt.access import loads, stores
from memaopt.kernels import around
from memaopt.kernels.around import Compiled, piece
from memaopt.kernels.code import Call, Rendered
from memaopt.kernels.emitted import Emitted, emitted
from memaopt.kernels.executed import body_of, cycles_of, words
from memaopt.kernels.plan import Plan, Promise
from memaopt.kernels.text.c import LINE, Array, short_name
from memaopt.problems.layers import Dequantize, FloatLookup, Quantize
from memaopt.problems.sixteen import FromFloat16, ToFloat16

#: What GCC 12.2 makes of the C at -O3 for an element: a lookup of floats until the table is read and from then on,
#: DEQUANTIZE of int8 (15 cycles, or 16 where its loop starts between two words) and int16.
_FLOAT_LOOKUP, _DEQUANTIZE, _DEQUANTIZE_16 = (Compiled(12, 5), Compiled(12, 7)), Compiled(28, 15.5), Compiled(28, 12)
#: QUANTIZE: what comes before the division, that, and what comes behind; the same to int16, as counted on the board.
QUANTIZED, _QUANTIZE_16 = (Compiled(80, 26), Compiled(8, 17), Compiled(22, 7)), (Compiled(110, 50),)


class FloatTable:
    """256 floats, computed offline."""

    name = "lookup floats"
    computes = FloatLookup

    def plans(self, layer: FloatLookup) -> tuple[Plan, ...]:
        n = layer.elements
        promise = Promise((loads(n, 1),), stores(n, 4), loads(n, 4))
        code, lead = (around.each_looked_up(n, 1024, *_FLOAT_LOOKUP),), 3 * (n - 1)
        cycles = round(cycles_of(code)) + around.LEAF_CYCLES
        return (Plan(self.name, "", cycles, promise, 1024, 44, code=code, lead=lead, alignment=4),)

    def emit(self, layer: FloatLookup, plan: Plan, name: str) -> Emitted:
        table = [Array("float", f"{name}_table", layer.table, "output of each input, from -128 up", alignment=LINE)]
        return emitted(
            f"void {name}(const int8_t *in, float *out, void *scratch)",
            plan,
            f"a table of 256 floats, {layer.elements} elements",
            "kernels/elementwise/float_lookup.c.j2",
            arrays=table,
            layer=layer,
        )


@dataclass(frozen=True)
class FloatToInteger:
    """QUANTIZE of float32, an element at a time, to integers of ``bits``; ``lead`` where its output may overlap its
    input.
    """

    name: str
    computes: type[Quantize | FromFloat16]
    bits: int
    compiled: tuple[Compiled, ...]
    lead: int | None
    alignment: int

    def plans(self, layer: Quantize | FromFloat16) -> tuple[Plan, ...]:
        n, code = layer.elements, (around.each(layer.elements, *self.compiled),)
        promise, cycles = Promise((loads(n, 4),), stores(n, self.bits // 8)), round(cycles_of(code))
        return (Plan(self.name, "", cycles, promise, 0, 272, code=code, lead=self.lead, alignment=self.alignment),)

    def emit(self, layer: Quantize | FromFloat16, plan: Plan, name: str) -> Emitted:
        return emitted(
            f"void {name}(const float *in, int{self.bits}_t *out, void *scratch)",
            plan,
            f"QUANTIZE float32 -> int{self.bits}, {layer.elements} elements",
            "kernels/elementwise/quantize.c.j2",
            layer=layer,
            bits=self.bits,
            scale=float_text(layer.scale),
        )


@dataclass(frozen=True)
class IntegerToFloat:
    """DEQUANTIZE of integers of ``bits``. The float product rounds as TFLite's double one does, for it is exact in
    double.
    """

    name: str
    computes: type[Dequantize | ToFloat16]
    bits: int
    compiled: Compiled
    code_bytes: int
    overlaps: bool
    alignment: int

    def plans(self, layer: Dequantize | ToFloat16) -> tuple[Plan, ...]:
        n, code = layer.elements, (around.each(layer.elements, self.compiled),)
        promise = Promise((loads(n, self.bits // 8),), stores(n, 4))
        cycles, lead = round(cycles_of(code)), 3 * (n - 1) if self.overlaps else None
        return (
            Plan(self.name, "", cycles, promise, 0, self.code_bytes, code=code, lead=lead, alignment=self.alignment),
        )

    def emit(self, layer: Dequantize | ToFloat16, plan: Plan, name: str) -> Emitted:
        return emitted(
            f"void {name}(const int{self.bits}_t *in, float *out, void *scratch)",
            plan,
            f"DEQUANTIZE int{self.bits} -> float32, {layer.elements} elements",
            "kernels/elementwise/dequantize.c.j2",
            layer=layer,
            bits=self.bits,
            scale=float_text(layer.scale),
        )


class WordToFloat:
    """The same, a word of four elements at a time."""

    name = "dequantize words"
    computes = Dequantize

    def plans(self, layer: Dequantize) -> tuple[Plan, ...]:
        n = layer.elements
        turns, rest = divmod(n, 4)
        if not turns:
            return ()
        kernel = _to_float(layer)
        code = (piece(around.CALL), Call(kernel, (turns,)), around.each(rest, _DEQUANTIZE))
        size = 4 * words(body_of(Call(kernel, (turns,))))
        return (
            Plan(
                family=self.name,
                tile="4",
                cycles=round(cycles_of(code)),
                promise=Promise((loads(turns, 4) + loads(rest, 1),), stores(n, 4)),
                data_bytes=0,
                code_bytes=size + (80 if rest else 20),
                stack_bytes=16,
                kernels=(kernel.name,),
                shared_bytes=size,
                code=code,
                # A turn writes four times what it reads, before the next one reads.
                lead=max(12 * (turns - 1), 3 * (n - 1) if rest else 0),
                alignment=4,
            ),
        )

    def emit(self, layer: Dequantize, plan: Plan, name: str) -> Emitted:
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


FAMILIES = (
    FloatTable(),
    FloatToInteger("quantize", Quantize, 8, QUANTIZED, lead=-3, alignment=1),
    IntegerToFloat("dequantize", Dequantize, 8, _DEQUANTIZE, 60, overlaps=True, alignment=1),
    WordToFloat(),
    FloatToInteger("generic 16x8", FromFloat16, 16, _QUANTIZE_16, lead=None, alignment=4),
    IntegerToFloat("generic 16x8", ToFloat16, 16, _DEQUANTIZE_16, 72, overlaps=False, alignment=4),
)
