"""float32 at the network's ends: QUANTIZE, DEQUANTIZE, and floats that an int8 decides."""

import numpy as np

from memaopt.access import loads, stores
from memaopt.kernels import around
from memaopt.kernels.around import Compiled, piece
from memaopt.kernels.code import Call, Rendered, TableLoads
from memaopt.kernels.emitted import Emitted, emitted
from memaopt.kernels.executed import body_of, cycles_of, words
from memaopt.kernels.plan import Plan, Promise
from memaopt.kernels.text.c import LINE, Array, short_name
from memaopt.problems.layers import Dequantize, FloatLookup, Layer, Quantize

#: What GCC 12.2 makes of the C at -O3 for an element: a lookup of floats, DEQUANTIZE.
_FLOAT_LOOKUP, _DEQUANTIZE = Compiled(24, 12), Compiled(28, 15)
#: QUANTIZE: what comes before the division, that, and what comes behind.
_QUANTIZE = (Compiled(80, 26), Compiled(8, 17), Compiled(22, 7))


class FloatTable:
    """256 floats, computed offline."""

    name = "lookup floats"
    computes = FloatLookup

    def plans(self, layer: Layer) -> tuple[Plan, ...]:
        assert isinstance(layer, FloatLookup)
        n = layer.elements
        promise = Promise((loads(n, 1),), stores(n, 4), loads(n, 4))
        code, lead = (around.each(n, _FLOAT_LOOKUP), TableLoads(1024, n)), 3 * (n - 1)
        cycles = round(_FLOAT_LOOKUP.cycles * n) + around.LEAF_CYCLES
        return (Plan(self.name, "", cycles, promise, 1024, 44, code=code, lead=lead, alignment=4),)

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
        code = (around.each(n, *_QUANTIZE),)
        cycles = round(cycles_of(code))
        return (Plan(self.name, "", cycles, promise, data_bytes=0, code_bytes=252, code=code, lead=-3),)

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
        cycles, code, lead = round(_DEQUANTIZE.cycles * n), (around.each(n, _DEQUANTIZE),), 3 * (n - 1)
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


FAMILIES = (FloatTable(), FloatToInt8(), Int8ToFloat(), WordToFloat())
