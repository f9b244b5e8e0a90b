"""LOG_SOFTMAX in TFLite's fixed point, with softmax's table of exponentials.

Cycles are those of GCC 12.2 at -O3, fitted to counts of 8 layers on the virtual board: within a tenth.
"""

from memaopt.access import loads, stores
from memaopt.kernels import around
from memaopt.kernels.around import Compiled, piece
from memaopt.kernels.code import Loop
from memaopt.kernels.emitted import Emitted, emitted, unary
from memaopt.kernels.executed import cycles_of
from memaopt.kernels.plain import ARITHMETIC
from memaopt.kernels.plan import Plan, Promise
from memaopt.kernels.text.c import Array
from memaopt.problems.log_softmax import LogSoftmax

#: Of an element in each of the three passes, in the second one until its exponential is loaded and from then on; of a
#: row, its logarithm included.
_GREATEST, _TOTAL, _OUTPUT = Compiled(16, 8), (Compiled(12, 7), Compiled(32, 12)), Compiled(90, 38)
_ROW = Compiled(500, 250)
#: Bytes of its code at most (`tests/kernels/test_frames.py`).
_MOST_CODE = 1088


class TableLogSoftmax:
    """Three passes over a row: the greatest element, the sum of exponentials, the outputs."""

    name = "log softmax"
    computes = LogSoftmax

    def plans(self, layer: LogSoftmax) -> tuple[Plan, ...]:
        n = layer.elements
        greatest, outputs = (around.each(layer.depth, element) for element in (_GREATEST, _OUTPUT))
        row = (piece(_ROW), greatest, around.each_looked_up(layer.depth, 1024, *_TOTAL, n), outputs)
        code = (*around.entry(), Loop(row, layer.rows))
        return (
            Plan(
                family=self.name,
                tile="",
                cycles=round(cycles_of(code)),
                promise=Promise((loads(3 * n, 1),), stores(n, 1), loads(n, 4)),
                data_bytes=1024,
                code_bytes=_MOST_CODE,
                code=code,
                requantization=ARITHMETIC,
            ),
        )

    def emit(self, layer: LogSoftmax, plan: Plan, name: str) -> Emitted:
        table = [Array("int32_t", f"{name}_exp", layer.exponentials, "exp(-i * scale) in Q0.31")]
        title = f"LOG_SOFTMAX of {layer.rows} rows of {layer.depth}"
        return emitted(unary(name), plan, title, "kernels/softmax/log_softmax.c.j2", arrays=table, layer=layer)


FAMILIES = (TableLogSoftmax(),)
