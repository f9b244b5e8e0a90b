"""EMBEDDING_LOOKUP: rows of a constant table, by indices that are computed or given."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from memaopt.problems.content import ByContent
from memaopt.problems.layer import Layer
from memaopt.problems.operands import Operand, Operands


@dataclass(frozen=True, eq=False)
class Embedding(Layer, ByContent):
    """For each of ``count`` int32 indices the row of ``table`` [rows, size] that it names, the nearest one for an index
    outside. ``from_end``: -1 names the last row, and so on."""

    count: int
    table: npt.NDArray[np.int8]
    from_end: bool = False

    @property
    def rows(self) -> int:
        return len(self.table)

    @property
    def size(self) -> int:
        """Bytes of a row."""
        return int(self.table.shape[1])

    @property
    def elements(self) -> int:
        return self.count * self.size

    @property
    def takes(self) -> tuple[Operand, ...]:
        return (Operand((self.count,), "int32"),)

    @property
    def gives(self) -> Operand:
        return Operand((self.count, self.size))

    @property
    def operands(self) -> Operands:
        """Every index may name one row."""
        return Operands((self.takes[0].bytes,), self.elements, self.size)

    def apply(self, indices: npt.ArrayLike) -> npt.NDArray[np.int8]:
        """The rows [count, size]."""
        wanted = np.asarray(indices, np.int64).reshape(-1)
        if self.from_end:
            wanted = np.where(wanted < 0, wanted + self.rows, wanted)
        found: npt.NDArray[np.int8] = self.table[np.clip(wanted, 0, self.rows - 1)]
        return found
