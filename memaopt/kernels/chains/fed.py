"""A chain whose input comes a row at a time: its function returns between two rows, and goes on where it was.

What its pointers were lies at the start of its scratch memory meanwhile, a word each.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from memaopt.access import Access, loads, stores
from memaopt.kernels.around import Compiled
from memaopt.kernels.chains.order import Order, StepKind

#: A call for a row, and each word that is kept; by the counts of chains on the board.
ROW, WORD = Compiled(120, 8), Compiled(16, 16.5)


class KeptWord(NamedTuple):
    """A word as C has it: what it holds before the first row, what it is read into, and what is left in it."""

    first: str
    taken: str
    left: str


def words_of(order: Order, lines: Mapping[int, int]) -> tuple[KeptWord, ...]:
    """The words that are kept beside the number of the next row; ``lines``: where line buffers start."""
    shape = order.shape
    made = [KeptWord("0", "int32_t i = ", "i")]
    if order.packing is not None:
        made.append(KeptWord("0", "int32_t place = ", "place"))
    if not shape.sums:
        made.append(KeptWord("0", "out += ", "(int32_t)(out - start)"))
    for tensor, at in lines.items():
        made.append(KeptWord(str(at), f"int8_t *end{tensor} = base + ", f"(int32_t)(end{tensor} - base)"))
    for tensor, at in lines.items():
        line = shape.lines[tensor]
        for reader in line.readers:
            name = f"rows{reader.part}_{reader.slot}"
            skipped = (line.above - shape.reach(reader).above) * line.row_bytes
            made.append(KeptWord(str(at + skipped), f"const int8_t *{name} = base + ", f"(int32_t)({name} - base)"))
    return tuple(made)


def word_count(order: Order) -> int:
    """All words that are kept."""
    return 1 + len(words_of(order, dict.fromkeys(order.shape.buffered, 0)))


def access(order: Order, height: int) -> tuple[Access, Access]:
    """Of the words that are kept, and of steps that are looked at twice, while ``height`` rows come."""
    count, fed = word_count(order), sum(step.kind is StepKind.FEED for step in order.steps)
    first = stores(count - 1, 4)
    each = loads(count - 1, 4) + stores(count, 4)
    return first + each.times(height) + loads(height - 1, 4), loads(fed - 1, 1)
