"""SOFTMAX in TFLite's fixed point. A difference to the row's greatest element has 256 values, so exp is a table."""

from memaopt.access import loads, stores
from memaopt.kernels.code import Loop, TableLoads, compiled
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
        return (
            Plan(
                family=self.name,
                tile="",
                cycles=59 * n + 148 * layer.rows,
                promise=Promise((loads(3 * n, 1),), stores(n, 1), loads(2 * n, 4)),
                data_bytes=1024,
                code_bytes=400,
                code=(
                    Loop(
                        (
                            Loop((compiled(16, 8),), layer.depth),
                            Loop((compiled(44, 17),), layer.depth),
                            compiled(300, 148),
                            Loop((compiled(84, 34),), layer.depth),
                        ),
                        layer.rows,
                    ),
                    TableLoads(1024, 2 * n),
                ),
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


FAMILIES = (TableSoftmax(),)
