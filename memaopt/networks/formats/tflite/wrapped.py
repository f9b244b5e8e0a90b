"""Indices that are counted from a table's end where they are below 0, which Keras's Embedding says in three operators.

GATHER(table, SELECT(LESS(x, 0), ADD(x, rows), x)) is a lookup by x itself.
"""

from __future__ import annotations

from collections.abc import Sequence

from memaopt.networks.graph import Tensor
from memaopt.networks.operators import Operator
from memaopt.networks.operators.embedding_lookup import EmbeddingLookup


def from_the_end(operators: Sequence[Operator], tensors: Sequence[Tensor], outputs: Sequence[int]) -> list[Operator]:
    """The operators, with lookups by the indices themselves, and without what then is read by nobody."""
    writers = {op.output: op for op in operators}
    found, left = list[Operator](), set[int]()
    for op in operators:
        index = _signed(op, writers, tensors) if isinstance(op, EmbeddingLookup) else None
        if index is None:
            found.append(op)
            continue
        chosen = writers[op.input]
        left |= {chosen.output, *chosen.inputs[:2]}
        found.append(op.model_copy(update={"inputs": (index, op.inputs[1]), "from_end": True}))
    for _ in range(2):  # what is selected, then what it was selected from
        read = {t for op in found for t in op.inputs} | set(outputs)
        found = [op for op in found if op.output not in left or op.output in read]
    return found


def _signed(op: EmbeddingLookup, writers: dict[int, Operator], tensors: Sequence[Tensor]) -> int | None:
    """The indices of which those below 0 get the table's rows added; None where that is not what is computed."""
    chosen = writers.get(op.input)
    if chosen is None or chosen.kind not in ("SELECT", "SELECT_V2"):
        return None
    below, added, index = chosen.inputs
    less, add = writers.get(below), writers.get(added)
    if less is None or add is None or (less.kind, add.kind) != ("LESS", "ADD"):
        return None
    rows = tensors[op.inputs[1]].shape[0]
    same = less.inputs[0] == add.inputs[0] == index and tensors[index].shape == tensors[op.input].shape
    return index if same and _is(tensors[less.inputs[1]], 0) and _is(tensors[add.inputs[1]], rows) else None


def _is(tensor: Tensor, number: int) -> bool:
    return tensor.is_constant and bool((tensor.values == number).all())
