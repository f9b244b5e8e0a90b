"""EMBEDDING_LOOKUP: rows of a table, copied by words."""

from memaopt.access import loads, stores
from memaopt.kernels import around
from memaopt.kernels.around import Compiled, piece
from memaopt.kernels.code import Literal, Loop
from memaopt.kernels.emitted import Emitted, emitted
from memaopt.kernels.executed import cycles_of
from memaopt.kernels.family import data_bytes
from memaopt.kernels.plan import Plan, Promise
from memaopt.kernels.text.c import Array
from memaopt.problems.embedding import Embedding

#: What GCC 12.2 makes at -O3 of entry and exit, of an index (its load, its bounds, the row's address and the call), and
#: of all that where there is one index; fitted to counts of 72 layers on the virtual board.
_ENTRY, _INDEX, _ONE = Compiled(40, 14), Compiled(36, 17), Compiled(52, 19)
#: Adding the rows to an index below 0.
_FROM_END = Compiled(8, 3)
_MOST_CODE = 88  # bytes, as measured by tests/kernels/test_frames.py
#: Cycles that a word costs more where rows have so many bytes beyond words: the mean over where rows begin.
_UNALIGNED = (0, 1.25, 0.5, 1.25)
#: Bytes of a row from which on copying eight words a turn is worth its call.
_LONG = 48


class RowEmbedding:
    """Any sizes."""

    name = "rows"
    computes = Embedding

    def plans(self, layer: Embedding) -> tuple[Plan, ...]:
        words, rest = divmod(layer.size, 4)
        copy = around.copy_words(words, True) if _by_words(layer) else around.copy_bytes(layer.size, True)
        apart = Compiled(4, words * _UNALIGNED[rest])
        row = (copy, piece(apart)) if apart.cycles else (copy,)
        row = (piece(_FROM_END), *row) if layer.from_end else row
        turns = (piece(_ENTRY), Loop((piece(_INDEX), *row), layer.count))
        code = (*(turns if layer.count > 1 else (piece(_ONE), *row)), Literal())
        one = Promise((loads(1, 4),), stores(words, 4) + stores(rest, 1), loads(words, 4) + loads(rest, 1))
        return (
            Plan(
                family=self.name,
                tile="",
                cycles=round(cycles_of(code)),
                promise=one.times(layer.count),
                data_bytes=data_bytes(_arrays(layer, "")),
                code_bytes=_MOST_CODE,
                code=code,
                words=False,
                alignment=4,
            ),
        )

    def emit(self, layer: Embedding, plan: Plan, name: str) -> Emitted:
        return emitted(
            f"void {name}(const int32_t *in, int8_t *out, void *scratch)",
            plan,
            f"EMBEDDING_LOOKUP of {layer.count} in {layer.rows} rows of {layer.size} bytes",
            "kernels/embedding/embedding.c.j2",
            arrays=_arrays(layer, name),
            layer=layer,
            by_words=_by_words(layer),
        )


def _by_words(layer: Embedding) -> bool:
    return layer.size >= _LONG and layer.size % 4 == 0


def _arrays(layer: Embedding, name: str) -> list[Array]:
    return [Array("int8_t", f"{name}_table", layer.table, "rows, in the order of the model", alignment=4)]


FAMILIES = (RowEmbedding(),)
