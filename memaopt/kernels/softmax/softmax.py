"""SOFTMAX in TFLite's fixed point. A difference to the row's greatest element has 256 values, so exp is a table."""

from memaopt.access import loads, stores
from memaopt.kernels import around
from memaopt.kernels.around import Compiled, piece
from memaopt.kernels.code import TABLE, Literal, Loop, Node, Straight, TableLoads, compiled
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
    total, outputs = (around.each_looked_up(layer.depth, 1024, *element, among) for element in (_TOTAL, _OUTPUT))
    row = (greatest, total, piece(_BEFORE), reciprocal, piece(_BEHIND), outputs, piece(_END))
    return (*around.entry(), Loop(row, layer.rows))


#: Likewise of four elements by words, each in whole words: a turn of each pass, instruction by instruction.
#: What loads an exponential is the word that each of these ends with but the last.
_FOUR_GREATEST = Straight((2, 1, 1, 3), (0,) * 4)
_FOUR_SUMMED = (3, 1, 2, 1, 2), (1, 1, 2), (1, 1, 2), (1,), (1, 1, 1, 1, 1, 1, 1, 3)
_FOUR_GIVEN = (
    (3, 1, 2, 1, 1, 3), (1,), (2, 2), (1,),
    (1, 2, 1, 2, 1, 1, 2, 1, 1, 1, 2, 1, *(1,) * 5, 2, 1, *(1,) * 5, 2, 1, 1, 2, 2, 1, 2),
)  # fmt: skip
#: Of the layer its entry and its exit, of a row what lies before, between and behind these passes and the reciprocal.
_ENTRY, _EXIT = Compiled(32, 12), Compiled(8, 12)
_FIRST, _GREATER, _SUMMED, _STEP_BY_WORDS = Compiled(4, 4), Compiled(32, 12), Compiled(64, 20), Compiled(88, 28)
_INVERTED, _GIVEN = Compiled(56, 25), Compiled(24, 13)
#: Of an element that whole words leave over, and what a word's loads and its store at any address take more; fitted.
_REST, _ANYWHERE = Compiled(60, 22), 6
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
        load = TableLoads(1024, 4, 2 * n, marked=True)
        summed, given = (Loop((_looking_up(turn), load), words) for turn in (_FOUR_SUMMED, _FOUR_GIVEN))
        greatest, reciprocal = Loop((_FOUR_GREATEST,), words - 1), around.each(3, _STEP_BY_WORDS)
        row: tuple[Node, ...] = (
            piece(_FIRST),
            greatest,
            piece(_GREATER),
            summed,
            piece(_SUMMED),
            reciprocal,
            piece(_INVERTED),
            given,
            piece(_GIVEN),
        )
        if rest:
            row += (piece(Compiled(_REST.size * rest, _REST.cycles * rest + _ANYWHERE * words)),)
        # Two rows are written out, whatever the C says of unrolling.
        rows = row * 2 if layer.rows == 2 else (Loop(row, layer.rows),)
        code = (piece(_ENTRY), Literal(), *rows, piece(_EXIT))
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


def _looking_up(parts: tuple[tuple[float, ...], ...]) -> Straight:
    """Consecutive parts of a loop's code, each of which but the last ends with a load from a table."""
    loads = [(0,) * (len(part) - 1) + (TABLE + 1 if part is not parts[-1] else 0,) for part in parts]
    return Straight(sum(parts, ()), sum(loads, ()))


FAMILIES = (TableSoftmax(), WordSoftmax())
