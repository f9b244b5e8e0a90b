"""LOG_SOFTMAX in TFLite's fixed point, with softmax's table of exponentials.

Cycles are those of GCC 12.2 at -O3, fitted to counts of 8 layers on the virtual board: within a tenth.
"""

from memaopt.access import loads, stores
from memaopt.kernels import around
from memaopt.kernels.around import Compiled, piece
from memaopt.kernels.code import Loop, Node, TableLoads
from memaopt.kernels.emitted import Emitted, emitted, unary
from memaopt.kernels.executed import cycles_of
from memaopt.kernels.plain import ARITHMETIC
from memaopt.kernels.plan import Plan, Promise
from memaopt.kernels.text.c import Array
from memaopt.problems.log_softmax import LogSoftmax

#: Of an element in each of the three passes; of a row, its logarithm included.
_GREATEST, _TOTAL, _OUTPUT, _ROW = Compiled(16, 8), Compiled(44, 19), Compiled(90, 38), Compiled(500, 250)
#: Bytes of its code at most (`tests/kernels/test_frames.py`).
_MOST_CODE = 1088


class TableLogSoftmax:
    """Three passes over a row: the greatest element, the sum of exponentials, the outputs."""

    name = "log softmax"
    computes = LogSoftmax

    def plans(self, layer: LogSoftmax) -> tuple[Plan, ...]:
        n, passes = layer.elements, (_GREATEST, _TOTAL, _OUTPUT)
        row: tuple[Node, ...] = (piece(_ROW), *(Loop((piece(element),), layer.depth) for element in passes))
        code = (*around.entry(), Loop(row, layer.rows), TableLoads(1024, n))
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
