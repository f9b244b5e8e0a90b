"""RESIZE_BILINEAR, element by element: four neighbours by four weights, which the channels of a position share."""

from memaopt.access import loads, stores
from memaopt.kernels import around
from memaopt.kernels.around import Compiled, piece
from memaopt.kernels.code import Loop
from memaopt.kernels.emitted import Emitted, emitted, unary
from memaopt.kernels.family import dimensions
from memaopt.kernels.plain import plain
from memaopt.kernels.plan import Plan, Promise
from memaopt.problems.resize import RESIZE_UNIT, Resize

#: What GCC 12.2 makes of an element at -O3, of a position's weights and addresses, and of a row.
_ELEMENT, _POSITION, _ROW = Compiled(72, 31), Compiled(120, 41), Compiled(80, 40)
#: Likewise of one channel or two, which GCC writes out; fitted to six layers, all within 18 %.
_WRITTEN_OUT = (Compiled(72, 34), Compiled(100, 14), Compiled(80, 28))
_MOST_CODE = 472  # bytes, as measured by tests/kernels/test_frames.py


class GenericResize:
    """Any sizes."""

    name = "generic"
    computes = Resize

    def plans(self, layer: Resize) -> tuple[Plan, ...]:
        height, width, channels = layer.output
        element, position, row = map(piece, _WRITTEN_OUT if channels <= 2 else (_ELEMENT, _POSITION, _ROW))
        columns = Loop((position, Loop((element,), channels)), width)
        code = (*around.entry(), Loop((row, columns), height))
        n = layer.output.elements
        return (plain(code, Promise((loads(4 * n, 1),), stores(n, 1)), _MOST_CODE),)

    def emit(self, layer: Resize, plan: Plan, name: str) -> Emitted:
        title = f"RESIZE_BILINEAR {dimensions(layer.shape)} -> {dimensions(layer.output)}"
        return emitted(unary(name), plan, title, "kernels/resize/resize.c.j2", layer=layer, unit=RESIZE_UNIT)


FAMILIES = (GenericResize(),)
