"""float32 at the ends of a network of int16, element by element.

Cycles are those of GCC 12.2 at -O3, as counted on the virtual board.
"""

from memaopt.access import loads, stores
from memaopt.kernels import around
from memaopt.kernels.around import Compiled
from memaopt.kernels.elementwise.floats import float_text
from memaopt.kernels.emitted import Emitted, emitted
from memaopt.kernels.executed import cycles_of
from memaopt.kernels.plan import Plan, Promise
from memaopt.problems.layers import Layer
from memaopt.problems.sixteen import FromFloat16, ToFloat16

_FROM, _TO = Compiled(110, 50), Compiled(28, 12)


class FloatToInt16:
    """QUANTIZE of float32."""

    name = "generic 16x8"
    computes = FromFloat16

    def plans(self, layer: Layer) -> tuple[Plan, ...]:
        assert isinstance(layer, FromFloat16)
        n, code = layer.elements, (around.each(layer.elements, _FROM),)
        promise, cycles = Promise((loads(n, 4),), stores(n, 2)), round(cycles_of(code))
        return (Plan(self.name, "", cycles, promise, 0, 252, code=code, alignment=4),)

    def emit(self, layer: Layer, plan: Plan, name: str) -> Emitted:
        assert isinstance(layer, FromFloat16)
        return emitted(
            f"void {name}(const float *in, int16_t *out, void *scratch)",
            plan,
            f"QUANTIZE float32 -> int16, {layer.elements} elements",
            "kernels/sixteen/from_float.c.j2",
            layer=layer,
            scale=float_text(layer.scale),
        )


class Int16ToFloat:
    """DEQUANTIZE. The float product rounds as TFLite's double one does, for it is exact in double."""

    name = "generic 16x8"
    computes = ToFloat16

    def plans(self, layer: Layer) -> tuple[Plan, ...]:
        assert isinstance(layer, ToFloat16)
        n, code = layer.elements, (around.each(layer.elements, _TO),)
        promise, cycles = Promise((loads(n, 2),), stores(n, 4)), round(cycles_of(code))
        return (Plan(self.name, "", cycles, promise, 0, 72, code=code, alignment=4),)

    def emit(self, layer: Layer, plan: Plan, name: str) -> Emitted:
        assert isinstance(layer, ToFloat16)
        return emitted(
            f"void {name}(const int16_t *in, float *out, void *scratch)",
            plan,
            f"DEQUANTIZE int16 -> float32, {layer.elements} elements",
            "kernels/sixteen/to_float.c.j2",
            layer=layer,
            scale=float_text(layer.scale),
        )


FAMILIES = (FloatToInt16(), Int16ToFloat())
