"""RESIZE_BILINEAR, element by element: four neighbours by four weights, which the channels of a position share."""

from memaopt.access import loads, stores
from memaopt.kernels import around
from memaopt.kernels.around import Compiled, piece
from memaopt.kernels.code import Loop
from memaopt.kernels.emitted import Emitted, emitted, unary
from memaopt.kernels.family import dimensions
from memaopt.kernels.plain import plain
from memaopt.kernels.plan import Plan, Promise
from memaopt.problems.layers import Layer
from memaopt.problems.resize import RESIZE_UNIT, Resize

#: What GCC 12.2 makes of an element at -O3, of a position's weights and addresses, and of a row.
_ELEMENT, _POSITION, _ROW = Compiled(72, 31), Compiled(120, 41), Compiled(80, 40)
_MOST_CODE = 328  # bytes, as measured by tests/kernels/test_frames.py


class GenericResize:
    """Any sizes."""

    name = "generic"
    computes = Resize

    def plans(self, layer: Layer) -> tuple[Plan, ...]:
        assert isinstance(layer, Resize)
        height, width, channels = layer.output
        columns = Loop((piece(_POSITION), Loop((piece(_ELEMENT),), channels)), width)
        code = (*around.entry(), Loop((piece(_ROW), columns), height))
        n = layer.output.elements
        return (plain(code, Promise((loads(4 * n, 1),), stores(n, 1)), _MOST_CODE),)

    def emit(self, layer: Layer, plan: Plan, name: str) -> Emitted:
        assert isinstance(layer, Resize)
        title = f"RESIZE_BILINEAR {dimensions(layer.shape)} -> {dimensions(layer.output)}"
        return emitted(unary(name), plan, title, "kernels/resize/resize.c.j2", layer=layer, unit=RESIZE_UNIT)


FAMILIES = (GenericResize(),)
