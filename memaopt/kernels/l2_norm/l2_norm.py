"""L2_NORMALIZATION: two passes over a row, the sum of squares and the outputs, and an inverse root between them."""

from memaopt.access import loads, stores
from memaopt.kernels import around
from memaopt.kernels.around import Compiled, piece
from memaopt.kernels.code import Loop
from memaopt.kernels.emitted import Emitted, emitted, unary
from memaopt.kernels.plain import plain
from memaopt.kernels.plan import Plan, Promise
from memaopt.problems.layers import L2Norm

#: What GCC 12.2 makes of an element in each pass at -O3, and of a row's inverse root.
_SQUARE, _OUTPUT, _ROOT = Compiled(20, 8), Compiled(80, 30), Compiled(300, 260)
_MOST_CODE = 892  # bytes, as measured by tests/kernels/test_frames.py


class GenericL2Norm:
    """Any rows."""

    name = "generic"
    computes = L2Norm

    def plans(self, layer: L2Norm) -> tuple[Plan, ...]:
        n = layer.rows * layer.depth
        row = (Loop((piece(_SQUARE),), layer.depth), piece(_ROOT), Loop((piece(_OUTPUT),), layer.depth))
        code = (*around.entry(), Loop(row, layer.rows))
        return (plain(code, Promise((loads(2 * n, 1),), stores(n, 1)), _MOST_CODE),)

    def emit(self, layer: L2Norm, plan: Plan, name: str) -> Emitted:
        title = f"L2_NORMALIZATION of {layer.rows} rows of {layer.depth}"
        return emitted(unary(name), plan, title, "kernels/l2_norm/l2_norm.c.j2", layer=layer)


FAMILIES = (GenericL2Norm(),)
