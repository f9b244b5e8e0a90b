"""SOFTMAX in TFLite's fixed point. A difference to the row's greatest element has 256 values, so exp is a table."""

from memaopt.access import loads, stores
from memaopt.kernels import around
from memaopt.kernels.around import Compiled, piece
from memaopt.kernels.code import Loop, Node, TableLoads, compiled
from memaopt.kernels.emitted import Emitted, emitted, unary
from memaopt.kernels.executed import cycles_of
from memaopt.kernels.plan import Plan, Promise
from memaopt.kernels.text.c import Array
from memaopt.problems.layers import Softmax

#: What GCC 12.2 makes of the C at -O3: an element in each of the three passes, until its exponential is loaded and from
#: then on; of the row's reciprocal what comes before its steps, a step, and what comes behind; a row's end.
_GREATEST = Compiled(16, 8)
_TOTAL, _OUTPUT = (Compiled(12, 7), Compiled(32, 12)), (Compiled(16, 8), Compiled(76, 25))
_BEFORE, _STEP, _BEHIND, _END = Compiled(78, 27), Compiled(94, 28), Compiled(78, 26), Compiled(20, 12)
#: Rows of one element or two are written out: what comes before the reciprocal, what behind, each element in both.
_SHORT_BEFORE, _SHORT_BEHIND, _SHORT_ELEMENT = Compiled(150, 20), Compiled(150, 23), Compiled(25, 25.5)
_MOST_CODE = 672  # bytes, as measured by tests/kernels/test_frames.py


class TableSoftmax:
    """Three passes over a row: the greatest element, the sum of exponentials, the outputs."""

    name = "softmax"
    computes = Softmax

    def plans(self, layer: Softmax) -> tuple[Plan, ...]:
        n = layer.rows * layer.depth
        code, wide = _code(layer), layer.output_bits > 8
        return (
            Plan(
                family=self.name,
                tile="",
                cycles=round(cycles_of(code)),
                promise=Promise((loads(3 * n, 1),), stores(n, layer.output_bits // 8), loads(2 * n, 4)),
                data_bytes=1024,
                code_bytes=_MOST_CODE,
                code=code,
                alignment=2 if wide else 1,
            ),
        )

    def emit(self, layer: Softmax, plan: Plan, name: str) -> Emitted:
        return _emitted(layer, plan, name, "kernels/softmax/softmax.c.j2")


def _emitted(layer: Softmax, plan: Plan, name: str, template: str) -> Emitted:
    table = [Array("int32_t", f"{name}_exp", layer.exponentials, "exp(-i * scale * beta) in Q0.31")]
    return emitted(
        unary(name, output_bits=layer.output_bits),
        plan,
        f"SOFTMAX of {layer.rows} rows of {layer.depth}",
        template,
        arrays=table,
        layer=layer,
    )


def _code(layer: Softmax) -> tuple[Node, ...]:
    """Three loops over a row, and what lies between them. GCC 12.2 writes out passes of two turns and of one."""
    among = 2 * layer.rows * layer.depth
    reciprocal = Loop((piece(_STEP),), 3)
    if layer.depth <= 2:
        before, behind = (
            compiled(part.size + _SHORT_ELEMENT.size * layer.depth, part.cycles + _SHORT_ELEMENT.cycles * layer.depth)
            for part in (_SHORT_BEFORE, _SHORT_BEHIND)
        )
        return (*around.entry(), Loop((before, reciprocal, behind), layer.rows), TableLoads(1024, among))
    greatest = around.each(layer.depth, _GREATEST)
    load = TableLoads(1024, 1, among)
    total, outputs = (Loop((piece(a), load, piece(b)), layer.depth) for a, b in (_TOTAL, _OUTPUT))
    row = (greatest, total, piece(_BEFORE), reciprocal, piece(_BEHIND), outputs, piece(_END))
    return (*around.entry(), Loop(row, layer.rows))


#: Likewise of four elements by words in each of the three passes, and of a row; fitted to six layers, within 10 %.
_FOUR_GREATEST, _FOUR_SUMMED, _FOUR_GIVEN = Compiled(40, 8), Compiled(100, 28), Compiled(330, 58)
_ROW_OF_FOURS = Compiled(240, 60)
#: Likewise of an element that whole words leave over, and what a word's loads and its store at any address take more.
_REST, _ANYWHERE = Compiled(60, 22), 5
_MOST_WORDS_CODE, _MOST_REST_CODE = 1184, 128  # likewise, and of each element left over
#: Elements of a row: fewer are not worth it, and of more a sum may have more bits than one exponent is written for.
_LEAST, _MOST = 16, 128


class WordSoftmax:
    """The same by four elements at a time, to int8. What a row has besides whole words is in its last four bytes."""

    name = "softmax by words"
    computes = Softmax

    def plans(self, layer: Softmax) -> tuple[Plan, ...]:
        if layer.output_bits > 8 or not _LEAST <= layer.depth <= _MOST:
            return ()
        n, (words, rest) = layer.rows * layer.depth, divmod(layer.depth, 4)
        greatest, total, outputs = (Loop((piece(four),), words) for four in (_FOUR_GREATEST, _FOUR_SUMMED, _FOUR_GIVEN))
        reciprocal = Loop((piece(_STEP),), 3)
        row: tuple[Node, ...] = (
            piece(_ROW_OF_FOURS),
            greatest,
            total,
            piece(_BEFORE),
            reciprocal,
            piece(_BEHIND),
            outputs,
        )
        if rest:
            row += (piece(Compiled(_REST.size * rest, _REST.cycles * rest + _ANYWHERE * words)),)
        code = (*around.entry(), Loop(row, layer.rows), TableLoads(1024, 2 * n))
        read = layer.rows * (3 * words + (rest > 0))
        written = stores(layer.rows * words, 4) + stores(layer.rows * rest, 1)
        return (
            Plan(
                family=self.name,
                tile="",
                cycles=round(cycles_of(code)),
                promise=Promise((loads(read, 4),), written, loads(2 * n, 4)),
                data_bytes=1024,
                code_bytes=_MOST_WORDS_CODE + _MOST_REST_CODE * rest,
                code=code,
                alignment=4,
            ),
        )

    def emit(self, layer: Softmax, plan: Plan, name: str) -> Emitted:
        return _emitted(layer, plan, name, "kernels/softmax/softmax_words.c.j2")


FAMILIES = (TableSoftmax(), WordSoftmax())
