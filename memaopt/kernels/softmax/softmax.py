"""SOFTMAX in TFLite's fixed point. A difference to the row's greatest element has 256 values, so exp is a table."""

from memaopt.access import loads, stores
from memaopt.kernels import around
from memaopt.kernels.code import Loop, Node, TableLoads, compiled, cycles_of
from memaopt.kernels.emitted import Emitted, emitted, unary
from memaopt.kernels.plan import Plan, Promise
from memaopt.kernels.text.c import Array
from memaopt.problems.layers import Layer, Softmax


class TableSoftmax:
    """Three passes over a row: the greatest element, the sum of exponentials, the outputs."""

    name = "softmax"
    computes = Softmax

    def plans(self, layer: Layer) -> tuple[Plan, ...]:
        assert isinstance(layer, Softmax)
        n = layer.rows * layer.depth
        code = _code(layer)
        return (
            Plan(
                family=self.name,
                tile="",
                cycles=round(cycles_of(code)),
                promise=Promise((loads(3 * n, 1),), stores(n, 1), loads(2 * n, 4)),
                data_bytes=1024,
                code_bytes=400,
                code=code,
            ),
        )

    def emit(self, layer: Layer, plan: Plan, name: str) -> Emitted:
        assert isinstance(layer, Softmax)
        table = [Array("int32_t", f"{name}_exp", layer.exponentials, "exp(-i * scale * beta) in Q0.31")]
        return emitted(
            unary(name),
            plan,
            f"SOFTMAX of {layer.rows} rows of {layer.depth}",
            "kernels/softmax/softmax.c.j2",
            arrays=table,
            layer=layer,
        )


def _code(layer: Softmax) -> tuple[Node, ...]:
    """Three loops over a row, and what lies between them. GCC 12.2 writes out loops of two turns and of one."""
    table = TableLoads(1024, 2 * layer.rows * layer.depth)
    if layer.depth <= 2:
        return (*around.entry(), Loop((compiled(400 + 50 * layer.depth, 127 + 51 * layer.depth),), layer.rows), table)
    row = (
        Loop((compiled(16, 9),), layer.depth),
        Loop((compiled(40, 18),), layer.depth),
        compiled(300, 150),
        Loop((compiled(88, 33),), layer.depth),
    )
    return (*around.entry(), Loop(row, layer.rows), table)


FAMILIES = (TableSoftmax(),)
