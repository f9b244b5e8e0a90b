"""BATCH_MATMUL of two computed operands, element by element."""

import math

from memaopt.access import loads, stores
from memaopt.kernels import around
from memaopt.kernels.around import Compiled, piece
from memaopt.kernels.code import Loop
from memaopt.kernels.emitted import Emitted, binary, emitted
from memaopt.kernels.family import dimensions
from memaopt.kernels.plain import plain
from memaopt.kernels.plan import Plan, Promise
from memaopt.problems.layers import MatMul

#: What GCC 12.2 makes of a product at -O3, of an output, and of a row.
_PRODUCT, _OUTPUT, _ROW = Compiled(24, 12), Compiled(100, 31), Compiled(24, 10)
_MOST_CODE = 736  # bytes, as measured by tests/kernels/test_frames.py


class GenericMatMul:
    """Any sizes, transposed or not, any batches."""

    name = "generic"
    computes = MatMul

    def plans(self, layer: MatMul) -> tuple[Plan, ...]:
        rows, depth, columns = layer.size
        batch = math.prod(layer.batches)
        products = Loop((piece(_OUTPUT), Loop((piece(_PRODUCT),), depth)), columns)
        code = (*around.entry(), Loop((piece(_ROW), products), batch * rows))
        n = batch * rows * columns
        moved = Promise((loads(n * depth, 1), loads(n * depth, 1)), stores(n, 1))
        return (plain(code, moved, _MOST_CODE),)

    def emit(self, layer: MatMul, plan: Plan, name: str) -> Emitted:
        rows, depth, columns = layer.size
        return emitted(
            binary(name),
            plan,
            f"BATCH_MATMUL {dimensions(layer.first_shape)} by {dimensions(layer.second_shape)}",
            "kernels/matmul/matmul.c.j2",
            layer=layer,
            batches=layer.batches,
            rows=rows,
            depth=depth,
            columns=columns,
            first=layer.steps(0),
            second=layer.steps(1),
        )


FAMILIES = (GenericMatMul(),)
